# shellcheck shell=bash
# The names and addresses of a cluster, from its name and its index. Exported: the templates in config/ use them.

set_names() { # NAME
  export NAME=$1
  export STATE=/var/tmp/torpor/clusters/$NAME # Not under a home: the user postgres must be able to reach it.
  export LINK=tp-$NAME                        # the host's end of the network link, and the cgroup
}

set_addresses() { # INDEX
  export HOST_IP=10.200.$1.1 NODE_IP=10.200.$1.2 NODE_CIDR=10.200.$1.0/24
  export POD_CIDR=10.244.$1.0/24
  export SERVICE_CIDR=10.96.$1.0/24 API_SERVICE_IP=10.96.$1.1 DNS_IP=10.96.$1.10
}
