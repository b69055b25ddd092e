#!/bin/sh
# Makes sure that the named Debian packages are installed: installs what is missing where it may (root, or sudo without a
# password), else prints the line that does and exits with 2. Quick when all are there.
command -v dpkg-query >/dev/null || { echo "This is no Debian system; the build needs what these packages carry: $*" >&2; exit 0; }
missing=
for package; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
  as_root=
elif sudo -n true 2>/dev/null; then
  as_root="sudo -n"
else
  echo "Missing Debian packages. This line installs them, then go on here:" >&2
  echo "  sudo apt-get install$missing" >&2
  exit 2
fi
echo "Installing$missing" >&2
$as_root apt-get update -q >&2 &&
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing </dev/null >&2 ||
  { echo "apt-get could not install$missing" >&2; exit 2; }
