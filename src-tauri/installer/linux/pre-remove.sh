#!/bin/sh
# Before the files go. dpkg says `remove` or `upgrade`, rpm how many versions remain: 0 or 1.
set -e

unit=lanrage-engine.service

case "${1:-remove}" in
    remove | 0) ;;
    # The new version's script restarts it.
    *) exit 0 ;;
esac

command -v systemctl >/dev/null 2>&1 || exit 0
if [ -d /run/systemd/system ]; then
    # Stopping takes down the adapter, its routes and the router's ports; nothing of them outlives the engine.
    systemctl stop "$unit" || true
fi
systemctl disable "$unit" >/dev/null 2>&1 || true
exit 0
