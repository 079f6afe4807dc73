#!/usr/bin/env bash
# The parts the tests use that pip cannot bring: a real MQTT broker with its clients, and a real browser.
# Installs only what is missing, only where it may; says what to do otherwise.
set -euo pipefail
PATH="$PATH:/usr/sbin:/usr/local/sbin" # Debian keeps mosquitto where ordinary users do not look

missing=()
command -v mosquitto >/dev/null || missing+=(mosquitto)
command -v mosquitto_pub >/dev/null || missing+=(mosquitto-clients)
command -v chromium-headless-shell >/dev/null || missing+=(chromium-headless-shell)
[[ ${#missing[@]} -eq 0 ]] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "The tests need ${missing[*]} on the PATH. This machine has no apt-get; install them its own way, then run again."
    exit 1
fi
as_root=()
if [[ $EUID -ne 0 ]]; then
    if ! sudo -n true 2>/dev/null; then
        echo "The tests need ${missing[*]}. Run once: sudo apt-get install --no-install-recommends ${missing[*]}"
        exit 1
    fi
    as_root=(sudo -n)
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq >"$log" 2>&1 || true # a stale index may still be good enough
if ! "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
    tail -n 15 "$log"
    echo "apt-get could not install ${missing[*]}; the tests need them on the PATH."
    exit 1
fi
