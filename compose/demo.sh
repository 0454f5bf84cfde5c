#!/bin/sh
# The demo recipe in containers, from nothing to its last table: builds, starts, follows the trainer, leaves the rest up.
#   sh demo.sh [--debian] [SERVICE...]        docker compose -f compose/compose.yaml down -v     ends and forgets it all
set -eu
cd "$(dirname "$0")"
docker info >/dev/null 2>&1 || { echo 'compose-demo: no Docker engine answers (docker info)' >&2; exit 2; }
if [ "${1:-}" = --debian ]; then
    shift
    COMPOSE_FILE=compose.yaml:compose.debian.yaml
    export COMPOSE_FILE
fi
docker buildx version >/dev/null 2>&1 || { DOCKER_BUILDKIT=0; export DOCKER_BUILDKIT; }
sh prepare.sh
docker compose build
docker compose up --detach "$@"
echo "dashboard: http://127.0.0.1:${DASHBOARD_PORT:-8080}  (token: compose/.secrets/token)   Prometheus: http://127.0.0.1:${PROMETHEUS_PORT:-9090}"
docker compose logs --follow --no-log-prefix trainer 2>/dev/null &
logs=$!
code=$(docker wait "$(docker compose ps --all --quiet trainer)")
kill "$logs" 2>/dev/null || :
echo "
Those paths are the containers'. From the root of the repository:
  docker compose -f compose/compose.yaml cp trainer:/runs runs-of-compose       reports, tables and checkpoints
  docker compose -f compose/compose.yaml exec policy palaestra chat /runs/ID    talk to what was trained
  docker compose -f compose/compose.yaml down                                   end it; with -v forget it too"
exit "$code"
