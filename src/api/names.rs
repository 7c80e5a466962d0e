//! The names of the custom resources in kubectl.

/// The kinds, with their names in kubectl, the shortest first.
pub(crate) const HOLDERS: [(&str, &[&str]); 2] = [
    ("Hibernation", &["hib", "hibernation", "hibernations"]),
    ("MaintenanceWindow", &["mw", "maintenancewindow", "maintenancewindows"]),
];
