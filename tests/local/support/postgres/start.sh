#!/bin/sh
# Starts a PostgreSQL of its own in a temporary directory, prints its URL and that directory, and ends it
# when standard input ends: with the process that started this, however that ends.
# `ctl` in the directory is pg_ctl for it, for a test that harms it.
# Ends with 98 where somebody else has the port.
set -eu

# shellcheck disable=SC2012 # Their names are plain versions.
bin=${PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}
port=$1
# A test makes a database of a thousand files: in memory where there is room, as a disk's file system takes longer than the
# server does.
room=$(df --output=avail --block-size=1G /dev/shm 2>/dev/null | tail -n 1)
parent=/tmp
[ "${room:-0}" -lt 4 ] || [ ! -w /dev/shm ] || parent=/dev/shm
directory=$(mktemp -d "$parent/torpor-postgres.XXXXXX")

# The server refuses to run as root.
if [ "$(id -u)" = 0 ]; then
    chown postgres "$directory"
    run="setpriv --reuid postgres --regid postgres --clear-groups"
else
    run=
fi

cd "$directory"
$run "$bin/initdb" --pgdata data --username postgres --auth trust --encoding UTF8 --locale C \
    --no-sync >log 2>&1 || { cat log >&2; exit 1; }
# A certificate for localhost by an authority of its own, for the tests of TLS.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=torpor-test-ca \
    -keyout ca.key -out ca.crt 2>>log
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout data/server.key -out server.csr 2>>log
printf 'subjectAltName=DNS:localhost\n' >extensions
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
    -extfile extensions -out data/server.crt 2>>log
chmod 600 data/server.key
chmod 755 "$directory"
[ -z "$run" ] || chown postgres data/server.key data/server.crt

# Roles that a test makes with a password need it; everybody else does not.
cat >data/pg_hba.conf <<HBA
local all all trust
host all postgres all trust
host all /^with_password all scram-sha-256
host all all all trust
HBA
[ "$("$bin/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 16 ] || sed -i \
    's|/^with_password|with_password_1,with_password_2,with_password_3|' data/pg_hba.conf

# Without autovacuum, so that sizes and estimates are the same in each run.
cat >>data/postgresql.conf <<CONF
port = $port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$directory'
fsync = off
autovacuum = off
wal_level = logical
ssl = on
max_connections = 100
max_prepared_transactions = 5
log_min_messages = warning
CONF
touch server.log
[ -z "$run" ] || chown postgres server.log
printf '#!/bin/sh\nexec %s %s/pg_ctl -D %s/data -l %s/server.log -s "$@"\n' \
    "$run" "$bin" "$directory" "$directory" >ctl
chmod 755 ctl

# A test may have mounted a file system that is full. Where there is no server or mount, it goes on.
trap 'set +e; ./ctl stop -m immediate 2>/dev/null; umount small 2>/dev/null; cd /; rm -rf "$directory"' EXIT
trap 'exit 1' INT TERM
./ctl start -w || {
    cat server.log >&2
    ! grep -q 'Address already in use' server.log || exit 98
    exit 1
}
printf 'postgres://postgres@127.0.0.1:%s/postgres %s\n' "$port" "$directory"
# Blocks until the other end is closed.
read -r _ || true
