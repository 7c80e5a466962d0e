//! Columns that take their values from a sequence by its name: the catalogs record no dependency.

use serde::Deserialize;

use super::facts::{Feed, Oid, Sequence};

/// Defaults outside of the relations `{below}` that may name a sequence in a text:
/// `nextval('jobs_id_seq'::text)` looks it up when a row comes, and so does a function whose body is a
/// text. The catalogs know of no dependency then. No table is opened: only the expression of a
/// generated column speaks of one, and that takes nothing from a sequence.
pub(super) const FROM_TEXTS: &str = "
SELECT coalesce(json_agg(json_build_object('text', d.text, 'table', d.relation::bigint,
                                           'column', format('%I.%I.%I', s.nspname, c.relname, a.attname))
                         ORDER BY d.relation, d.col), '[]')::text
FROM (
  SELECT ad.adrelid, ad.adnum, pg_get_expr(ad.adbin, 0)
  FROM pg_attrdef ad
  JOIN pg_attribute a ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum AND a.attgenerated = ''
  -- A function's call with a constant of type text or varchar somewhere: cheaper than to spell each
  -- default out.
  WHERE ad.adbin::text LIKE '%:funcid %' AND ad.adbin::text ~ ':consttype (25|1043) '
  UNION ALL
  SELECT a.attrelid, a.attnum, pg_get_expr(t.typdefaultbin, 0)
  FROM pg_type t
  JOIN pg_attribute a ON a.atttypid = t.oid AND NOT a.atthasdef AND NOT a.attisdropped
  WHERE t.typdefaultbin::text LIKE '%:funcid %' AND t.typdefaultbin::text ~ ':consttype (25|1043) '
  UNION ALL
  SELECT f.relation, f.col, p.prosrc
  FROM pg_proc p
  JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
  CROSS JOIN LATERAL (
    SELECT adrelid, adnum FROM pg_attrdef WHERE d.classid = 'pg_attrdef'::regclass AND oid = d.objid
    UNION ALL
    SELECT attrelid, attnum FROM pg_attribute
    WHERE d.classid = 'pg_type'::regclass AND atttypid = d.objid AND NOT atthasdef AND NOT attisdropped
  ) AS f (relation, col)
  WHERE p.oid >= 16384 AND p.prosrc ILIKE '%nextval%'
) AS d (relation, col, text)
JOIN pg_class c ON c.oid = d.relation AND c.relkind IN ('r', 'p', 'f')
JOIN pg_namespace s ON s.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = d.relation AND a.attnum = d.col
WHERE d.relation <> ALL ('{below}')";

/// A row of [`FROM_TEXTS`].
#[derive(Debug, Deserialize)]
pub(super) struct FromText {
    text: String,
    table: Oid,
    column: String,
}

/// Columns that take their values from one of the sequences by its name.
pub(super) fn feeds_by_name(sequences: &[Sequence], defaults: &[FromText]) -> Vec<Feed> {
    let of = |sequence: &Sequence| {
        let named = defaults.iter().filter(|default| mentions(&default.text, sequence));
        let feed = |default: &FromText| Feed {
            sequence: sequence.oid,
            table: default.table,
            column: default.column.clone(),
            by_name: true,
        };
        named.map(feed).collect::<Vec<Feed>>()
    };
    sequences.iter().flat_map(of).collect()
}

/// Returns whether `text`, an expression or a function's body, has the sequence's name as a whole word. In
/// which schema a name without one is looked up is only known when it is: any of that name counts.
fn mentions(text: &str, sequence: &Sequence) -> bool {
    // As they are within quotes; and PostgreSQL folds what is without.
    let text = text.replace("''", "'").replace("\"\"", "\"").to_lowercase();
    let (name, schema) = (sequence.plain.to_lowercase(), sequence.schema.to_lowercase());
    let part_of_word = |character: char| character.is_alphanumeric() || "_$".contains(character);
    let ends_a_word = |text: &str| text.chars().next_back().is_some_and(part_of_word);
    let of_another_schema = |before: &str| {
        let before = before.strip_suffix('"').unwrap_or(before);
        before.strip_suffix('.').is_some_and(|before| {
            let before = before.strip_suffix('"').unwrap_or(before);
            before.strip_suffix(&schema).is_none_or(ends_a_word)
        })
    };
    text.match_indices(&name).any(|(at, found)| {
        let (before, after) = (&text[..at], &text[at + found.len()..]);
        !ends_a_word(before)
            && !after.chars().next().is_some_and(part_of_word)
            && !of_another_schema(before)
    })
}

#[cfg(test)]
mod tests {
    use super::Sequence;

    fn mentions(text: &str, plain: &str) -> bool {
        let (plain, schema) = (plain.to_owned(), "public".to_owned());
        super::mentions(text, &Sequence { plain, schema, ..Sequence::default() })
    }

    #[test]
    fn a_sequence_of_that_name_in_another_schema_is_not_mentioned() {
        for text in [
            "nextval(('other.jobs_id_seq'::text)::regclass)",
            "nextval(('\"other\".\"jobs_id_seq\"'::text)::regclass)",
            "nextval(('republic.jobs_id_seq'::text)::regclass)",
        ] {
            assert!(!mentions(text, "jobs_id_seq"), "{text}");
        }
    }

    #[test]
    fn a_sequence_is_mentioned_by_its_whole_name() {
        for text in [
            "nextval(('jobs_id_seq'::text)::regclass)",
            "nextval(('public.jobs_id_seq'::text)::regclass)",
            "nextval(('\"public\".\"jobs_id_seq\"'::text)::regclass)",
            "BEGIN RETURN nextval('Jobs_Id_Seq'); END",
        ] {
            assert!(mentions(text, "jobs_id_seq"), "{text}");
        }
        for text in ["nextval('old_jobs_id_seq')", "nextval('jobs_id_seq2')", "nextval('jobs')"] {
            assert!(!mentions(text, "jobs_id_seq"), "{text}");
        }
        assert!(mentions("nextval(('\"it''s \"\"odd\"\"\"'::text)::regclass)", "it's \"odd\""));
    }
}
