//! The rights that the operator needs. A test compares them with those that the chart grants.

use crate::hold::lever::Kind;

/// The right to some verbs of one resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right {
    /// The API group; empty for the core group.
    pub(crate) group: &'static str,
    /// The plural name of the resource, with its subresource.
    pub(crate) resource: &'static str,
    /// The verbs.
    pub(crate) verbs: &'static [&'static str],
}

impl Right {
    /// Returns the right to hold objects of a kind of the table.
    pub(crate) fn to_hold(kind: &'static Kind) -> Self {
        right(kind.group, kind.plural, &["get", "list", "watch", "patch"])
    }
}

const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
) -> Right {
    Right { group, resource, verbs }
}

/// The rights in each namespace in which the operator works.
pub(crate) const SCOPED: &[Right] = &[
    right("torpor.dev", "hibernations", &["get", "list", "watch", "patch"]),
    right("torpor.dev", "hibernations/status", &["patch"]),
    right("torpor.dev", "maintenancewindows", &["get", "list", "watch", "patch"]),
    right("torpor.dev", "maintenancewindows/status", &["patch"]),
    right("apps", "deployments", &["get", "list", "watch", "patch", "create", "delete"]),
    right("apps", "statefulsets", &["get", "list", "watch", "patch"]),
    right("apps", "replicasets", &["get", "list", "watch", "patch"]),
    right("apps", "daemonsets", &["get", "list", "watch", "patch"]),
    right("batch", "cronjobs", &["get", "list", "watch", "patch"]),
    right("batch", "cronjobs/status", &["patch"]),
    right("batch", "jobs", &["get", "list", "watch", "patch", "create", "delete"]),
    right("", "configmaps", &["get", "list", "watch", "patch", "create", "delete"]),
    right("", "pods", &["list"]),
    right("", "services", &["get", "list", "create", "patch", "delete"]),
    right("", "namespaces", &["get"]),
    right("events.k8s.io", "events", &["list", "create", "patch"]),
    right("networking.k8s.io", "networkpolicies", &["get", "list", "create", "patch", "delete"]),
];

/// The rights to the Lease of the operator's name.
pub(crate) const LEASE: Right =
    right("coordination.k8s.io", "leases", &["get", "list", "watch", "patch"]);
/// The right to create the Lease. RBAC cannot limit a create to a name.
pub(crate) const NEW_LEASE: Right = right("coordination.k8s.io", "leases", &["create"]);
/// The right to tokens of the operator's own service account.
pub(crate) const TOKEN: Right = right("", "serviceaccounts/token", &["create"]);
