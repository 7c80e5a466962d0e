//! Answers that are not what was sent, and the writes that follow.

use super::*;
use crate::hold::answer::{Altered, Undo};

/// Stores a write as an API server does whose admission then changes the object.
fn stored(object: &Value, write: &Write, admission: impl Fn(&mut Value)) -> Value {
    let mut stored = patched(object, &write.patch, &write.manager);
    admission(&mut stored);
    stored
}

fn write(object: &Value, wants: &BTreeMap<String, Value>) -> Write {
    match ask(object, &holder("a"), wants) {
        Decision::Write(write) => write,
        other => panic!("{other:?}"),
    }
}

/// Sends the writes that undo an altered one. Admission changes each of them too.
fn undone(before: &Value, write: &Write, answer: &Value, admission: impl Fn(&mut Value)) -> Value {
    let mut object = answer.clone();
    let Some(mut undo) = Undo::of(&read(before), write, &read(answer)) else { return object };
    for _ in 0..3 {
        let dynamic: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let parse = |object: &DynamicObject| Some(read(&serde_json::to_value(object).unwrap()));
        let Some((_, next)) = undo.next(&dynamic, parse) else { return object };
        object = stored(&object, &next, &admission);
        if !undo.wrote(next) {
            return object;
        }
    }
    panic!("it ends: {object:#}");
}

fn strip(mark: &'static str) -> impl Fn(&mut Value) + Copy {
    move |object| drop(object["metadata"].as_object_mut().unwrap().remove(mark))
}

#[test]
fn a_hold_whose_marks_are_stripped_is_taken_back_at_once() {
    let applied = replicas_by(&deployment(), 5, "argocd", "Apply", "");
    for before in [deployment(), applied] {
        for (mark, says) in [("labels", "removes the label"), ("annotations", "the annotation")] {
            let write = write(&before, &stop());
            let answer = stored(&before, &write, strip(mark));
            let altered = Altered::of(&write, &read(&answer)).unwrap().to_string();
            assert!(altered.contains(says) && altered.contains("not held"), "{altered}");
            assert_eq!(undone(&before, &write, &answer, strip(mark)), before, "{mark}");
        }
    }
}

#[test]
fn a_hold_at_another_value_is_taken_back_and_told_with_both_values() {
    let at_least_two = |object: &mut Value| {
        let replicas = object["spec"]["replicas"].as_i64().unwrap();
        object["spec"]["replicas"] = json!(replicas.max(2));
    };
    let write = write(&deployment(), &stop());
    let answer = stored(&deployment(), &write, at_least_two);
    let altered = Altered::of(&write, &read(&answer)).unwrap().to_string();
    assert!(
        altered.contains("admission changes spec.replicas to 2 where Torpor writes 0"),
        "{altered}"
    );
    assert_eq!(undone(&deployment(), &write, &answer, at_least_two)["spec"]["replicas"], 5);
}

#[test]
fn a_release_at_another_value_puts_the_record_back() {
    let keep_zero = |object: &mut Value| object["spec"]["replicas"] = json!(0);
    let applied = replicas_by(&deployment(), 5, "argocd", "Apply", "");
    for before in [deployment(), applied] {
        let asleep = held(&before);
        let write = write(&asleep, &BTreeMap::new());
        let answer = stored(&asleep, &write, keep_zero);
        let altered = Altered::of(&write, &read(&answer)).unwrap().to_string();
        assert!(
            altered.contains("admission changes spec.replicas to 0 where Torpor writes 5"),
            "{altered}"
        );
        let undone = undone(&asleep, &write, &answer, keep_zero);
        assert_eq!(undone["spec"]["replicas"], 0);
        // Without admission it wakes as it was.
        assert_eq!(woken(&undone), before);
    }
}

#[test]
fn a_release_whose_marks_are_stripped_is_finished_from_memory() {
    let before = replicas_by(&deployment(), 5, "argocd", "Apply", "");
    let asleep = held(&before);
    let write = write(&asleep, &BTreeMap::new());
    let answer = stored(&asleep, &write, strip("labels"));
    assert!(Altered::of(&write, &read(&answer)).is_some());
    assert_eq!(undone(&asleep, &write, &answer, strip("labels")), before);
}

#[test]
fn what_is_stored_as_sent_is_not_altered() {
    let write = write(&deployment(), &stop());
    let answer = stored(&deployment(), &write, |_| ());
    assert_eq!(Altered::of(&write, &read(&answer)), None);
    // A removed field has its default.
    let mut removes = write;
    removes.values = [("/spec/replicas".to_owned(), None)].into();
    let answer = stored(&answer, &removes, |object| object["spec"]["replicas"] = json!(1));
    assert_eq!(Altered::of(&removes, &read(&answer)), None);
}
