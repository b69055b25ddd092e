#!/bin/sh
# demo_runs.sh FOLDER NAME=NUMBER…: makes FOLDER ready for a demonstration with these numbers. A run with other numbers
# that is there moves to a folder of its own, and comes back when its numbers do; the data stay.
folder=$1
shift
now=$*
name_of() { echo "$folder/$(echo "$1" | tr ' ' '_')"; }
move_run() {
  for part in init untrained model trained report.html bench; do
    [ ! -e "$1/$part" ] || mv "$1/$part" "$2/" || exit 4
  done
}

mkdir -p "$folder" || exit 4
was=$(cat "$folder/numbers" 2>/dev/null) || was=$now
if [ "$was" != "$now" ]; then
  kept=$(name_of "$was")
  mkdir -p "$kept" && move_run "$folder" "$kept" || exit 4
  echo "make demo: $folder had a run with $was, which is now in $kept; this one has $now" >&2
fi
kept=$(name_of "$now")
if [ -d "$kept" ]; then
  move_run "$kept" "$folder"
  rmdir "$kept"
fi
# Initial weights are drawn again, to the same bits; init does not know those of earlier versions as its own.
[ ! -f "$folder/numbers" ] || rm -rf "$folder/init"
echo "$now" >"$folder/numbers"
