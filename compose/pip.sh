# pip of the images' virtual environment, with the certificates and wheels of compose/local/ where there are any.
set -eu
bundle=$(mktemp)
for more in local/certificates/*.crt; do [ ! -f "$more" ] || cat "$more" >>"$bundle"; done
if [ -s "$bundle" ]; then
    export PIP_CERT="$bundle"
fi
/opt/palaestra/bin/python -m pip --disable-pip-version-check --no-cache-dir --quiet "$@" \
    --progress-bar off --find-links local/wheels -c requirements.lock
rm "$bundle"
