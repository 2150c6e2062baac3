#!/bin/sh
# Installs the engine that lies beside this script and starts it. Untested: written without a Mac at hand.
#   sudo /Applications/LANrage.app/Contents/Resources/install-engine.sh
set -e

here=$(cd "$(dirname "$0")" && pwd)
label=app.lanrage.engine
program=/Library/PrivilegedHelperTools/lanrage-engine
plist=/Library/LaunchDaemons/$label.plist

if [ "$(id -u)" != 0 ]; then
    echo "The engine needs an administrator: sudo $0" >&2
    exit 1
fi
launchctl bootout "system/$label" 2>/dev/null || true
# Copied to where only an administrator may write: who can replace the program would be root.
install -d -o root -g wheel -m 0755 /Library/PrivilegedHelperTools
install -o root -g wheel -m 0755 "$here/lanrage-engine" "$program"
install -o root -g wheel -m 0644 "$here/$label.plist" "$plist"
launchctl bootstrap system "$plist"
echo "The LANrage engine runs."
