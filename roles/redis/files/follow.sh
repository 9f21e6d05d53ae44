#!/bin/sh
# Have a server follow the master that Sentinel names, unless it is that master or follows already. Of the servers it is
# Sentinel's user, whose password is in REDISCLI_AUTH.
# follow.sh OWN-ADDRESS PORT SENTINEL-PORT NAME PROGRAM [OPTION ...]
set -eu
own=$1 port=$2 watch=$3 name=$4
shift 4
set -- "$@" --user sentinel -h "$own"
master=$("$@" -p "$watch" sentinel get-master-addr-by-name "$name" | head -n 1)
test -n "$master"
if test "$master" != "$own" && test "$("$@" -p "$port" role | head -n 1)" = master; then
  "$@" -p "$port" slaveof "$master" "$port"
fi
