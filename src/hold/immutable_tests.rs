//! ConfigMaps that are made immutable while they are held.

use super::*;

#[test]
fn a_config_map_that_was_made_immutable_is_refused_with_the_values_to_restore() {
    let wants = key_wants(&[("HIBERNATE_MODE".into(), "true".into())].into());
    let mut held = written(&config_map(), ask(&config_map(), &holder("a"), &wants));
    held["immutable"] = json!(true);
    assert_eq!(ask(&held, &holder("a"), &wants), Decision::Unchanged, "it stays as it is held");
    let Decision::Refuse(refusal) = ask(&held, &holder("a"), &BTreeMap::new()) else {
        panic!("it cannot be written")
    };
    assert_eq!(refusal.reason(), Reason::ConfigMapImmutable);
    let message = refusal.to_string();
    assert!(message.ends_with("create it again with HIBERNATE_MODE: \"false\""), "{message}");
}
