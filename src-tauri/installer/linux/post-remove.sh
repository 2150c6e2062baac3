#!/bin/sh
# After the files are gone. dpkg says `remove`, `purge` or `upgrade`, rpm how many versions remain: 0 or 1.
set -e

state=/var/lib/lanrage
settings=/etc/lanrage

case "${1:-remove}" in
    remove | 0)
        if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
            systemctl daemon-reload || true
        fi
        rm -rf /run/lanrage
        # rpm removes the licence and leaves its folder.
        rmdir /usr/share/licenses/lanrage 2>/dev/null || true
        if [ -d "$state" ]; then
            echo "lanrage: $state stays: it holds this computer's keys and its party. Remove it if you want neither again."
        fi
        ;;
    purge)
        rm -rf "$state"
        if [ -d "$settings" ]; then
            echo "lanrage: $settings stays: you wrote it."
        fi
        echo "lanrage: what each user's window remembers stays in their ~/.config/lanrage and ~/.local/share/lanrage."
        ;;
esac
exit 0
