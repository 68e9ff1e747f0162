# Sourced by the other scripts. Gives `ensure_venv run|dev`: makes .venv from the lock file when it is missing or stale.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
python="$root/.venv/bin/python"

find_python() {
  for candidate in "${HOLDFAST_PYTHON:-}" python3.13 python3.12 python3.11 python3; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "holdfast: Python 3.11 or newer is needed and none was found; set HOLDFAST_PYTHON to one" >&2
  exit 1
}

make_venv() {
  found=$(find_python)
  echo "holdfast: making .venv with $found" >&2
  "$found" -m venv --clear .venv >/dev/null 2>&1 && return
  # Debian keeps the venv module apart.
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    "$found" -m venv --clear .venv && return
  fi
  echo "holdfast: '$found -m venv' does not work here; install the venv module (Debian: python3-venv)" >&2
  exit 1
}

ensure_venv() {
  kind=$1
  lock="requirements/$kind.lock"
  stamp=".venv/.installed-$kind"
  wanted=$(cat requirements/*.lock pyproject.toml | sha256sum)
  [ -x "$python" ] || make_venv
  # What developers install holds what running needs.
  if [ "$kind" = run ] && [ "$(cat .venv/.installed-dev 2>/dev/null || true)" = "$wanted" ]; then
    return
  fi
  if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    echo "holdfast: installing from $lock (once)" >&2
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.lock
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    echo "$wanted" >"$stamp"
  fi
}
