#!/bin/sh
# Makes the secrets of this installation, once: .secrets/ is not in git, and only its owner can enter it.
# The files in it are readable so that the containers' users, who are nobody here, can read what is mounted for them.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p .secrets
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
for name in token postgres grafana; do
    [ -s ".secrets/$name" ] || random >".secrets/$name"
done
printf 'token = "%s"\nstore_password = "%s"\n' "$(cat .secrets/token)" "$(cat .secrets/postgres)" >.secrets/palaestra.toml
chmod 644 .secrets/*
