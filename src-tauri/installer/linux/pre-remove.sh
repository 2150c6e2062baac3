#!/bin/sh
# Before the files go. dpkg says `remove` or `upgrade`, rpm how many versions remain: 0 or 1.
set -e

unit=lanrage-engine.service

case "${1:-remove}" in
    remove | 0) ;;
    upgrade)
        # The new version's script restarts it, and switches it on unless it was off.
        if command -v systemctl >/dev/null 2>&1 && ! systemctl is-enabled --quiet "$unit" 2>/dev/null; then
            : >/run/lanrage-engine.off
        fi
        exit 0
        ;;
    *) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
    # Stopping takes down the adapter, its routes and the router's ports; nothing of them outlives the engine.
    systemctl stop "$unit" || true
fi
systemctl disable "$unit" >/dev/null 2>&1 || true
# What an engine left that was killed; one that was stopped left nothing.
/usr/bin/lanrage-engine restore || true
exit 0
