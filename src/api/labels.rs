//! Labels of the objects that Torpor itself creates.

/// The recommended label that names the tool which manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The recommended label that names an application.
pub const APP: &str = "app.kubernetes.io/name";
/// The value of both labels on Torpor's own objects.
pub const TORPOR: &str = "torpor";
