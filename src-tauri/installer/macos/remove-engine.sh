#!/bin/sh
# Stops the engine and removes it. Untested: written without a Mac at hand.
#   sudo /Applications/LANrage.app/Contents/Resources/remove-engine.sh
set -e

label=app.lanrage.engine

if [ "$(id -u)" != 0 ]; then
    echo "The engine needs an administrator: sudo $0" >&2
    exit 1
fi
launchctl bootout "system/$label" 2>/dev/null || true
# What an engine left that was killed.
/Library/PrivilegedHelperTools/lanrage-engine restore || true
rm -f /Library/PrivilegedHelperTools/lanrage-engine "/Library/LaunchDaemons/$label.plist"
rm -rf /var/run/lanrage
echo "The engine is gone. /Library/Application Support/LANrage stays: it holds this computer's keys and its party."
