//! The command as a Hibernation's Job runs it: messages name fields, no options.

use super::case::{database, with};

#[tokio::test]
async fn a_job_names_the_fields_of_its_hibernation() {
    let mut db = database("fields").await;
    db.run(
        "CREATE SCHEMA postgres; CREATE TABLE postgres.tasks (n int); CREATE TABLE public.tasks (n int);
        CREATE PUBLICATION pub FOR TABLE jobs",
    )
    .await;
    let list = "spec.database.truncate.tables";
    for (arguments, fields) in [
        (&with(&[])[..], &["spec.database.truncate.allowReplicated: true"][..]),
        (&["--runtime", "tasks"][..], &["spec.database.truncate.schema: postgres"][..]),
        (&["--runtime", "absent"][..], &[list, "spec.database.truncate.schema"][..]),
        (&["--runtime", "jobs", "--schema", "no"][..], &["spec.database.truncate.schema"][..]),
        (&with(&["--confirm", "another"])[..], &["spec.database.truncate.confirm"][..]),
    ] {
        let ended = db.truncate(&[arguments, &["--of-hibernation"]].concat()).await;
        let (_, _, message) = ended.refusal();
        for field in fields {
            assert!(message.contains(field), "{arguments:?}: {message}");
        }
        assert!(!message.contains("--"), "{arguments:?}: {message}");
        let by_hand = db.truncate(arguments).await;
        assert!(!by_hand.refusal().2.contains("spec."), "{by_hand:?}");
    }
}
