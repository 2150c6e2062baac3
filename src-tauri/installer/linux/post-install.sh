#!/bin/sh
# After the files are in place, on a first installation and on an upgrade, by dpkg and by rpm.
set -e

unit=lanrage-engine.service

# No systemd here, as in most containers: the files are all there is.
command -v systemctl >/dev/null 2>&1 || exit 0

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
# Without a running systemd too, so that an image's engine starts with its first boot. What an administrator masked
# stays so.
systemctl enable "$unit" >/dev/null 2>&1 || echo "lanrage: $unit could not be enabled" >&2
if [ -d /run/systemd/system ]; then
    # An upgrade's stop is no leave: the party goes on with the new engine.
    systemctl restart "$unit" || echo "lanrage: $unit did not start; see: journalctl -u $unit" >&2
fi

# Links of the form lanrage://join/… open the app.
if command -v update-desktop-database >/dev/null 2>&1; then
    update-desktop-database -q /usr/share/applications || true
fi
exit 0
