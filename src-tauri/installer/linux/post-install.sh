#!/bin/sh
# After the files are in place, on a first installation and on an upgrade. dpkg says `configure`, rpm how many versions
# there are: 1, or 2 on an upgrade.
set -e

unit=lanrage-engine.service
# Written by the old version's pre-remove.sh, as dpkg does not tell an upgrade from an installation after a removal.
off=/run/lanrage-engine.off

# No systemd here, as in most containers: the files are all there is.
command -v systemctl >/dev/null 2>&1 || exit 0

# An engine that an administrator switched off stays so.
switch_on=yes
case "${1:-}" in
    [2-9]) switch_on=no ;;
esac
if [ -e "$off" ]; then
    switch_on=no
    rm -f "$off"
fi

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
# Without a running systemd too, so that an image's engine starts with its first boot. What an administrator masked
# stays so.
if [ "$switch_on" = yes ]; then
    systemctl enable "$unit" >/dev/null 2>&1 || echo "lanrage: $unit could not be enabled" >&2
fi
if [ -d /run/systemd/system ]; then
    # An upgrade's stop is no leave: the party goes on with the new engine.
    if systemctl is-enabled --quiet "$unit" 2>/dev/null; then
        restart=restart
    else
        restart=try-restart
    fi
    systemctl "$restart" "$unit" || echo "lanrage: $unit did not start; see: journalctl -u $unit" >&2
fi

# Links of the form lanrage://join/… open the app.
if command -v update-desktop-database >/dev/null 2>&1; then
    update-desktop-database -q /usr/share/applications || true
fi
exit 0
