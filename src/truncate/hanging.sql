-- What hangs on the relations {below}, which are the tables that are asked for and all below them: one
-- JSON document for each statement, so that the answers of all take one message. The braces are replaced
-- by identities, which are numbers. Each statement is as plain as can be: planning takes longer than
-- carrying out.

-- Keys. A foreign key of or to a partitioned table has a copy per partition; the root is the one that a
-- person made and can drop.
WITH RECURSIVE keys AS (
  SELECT oid, conrelid, confrelid, oid AS root, conparentid AS above
  FROM pg_constraint
  WHERE contype = 'f' AND conrelid <> confrelid AND confrelid = ANY ('{below}')
  UNION ALL
  SELECT k.oid, k.conrelid, k.confrelid, p.oid, p.conparentid
  FROM keys k JOIN pg_constraint p ON p.oid = k.above
)
SELECT coalesce(json_agg(json_build_object(
    'root', k.root::bigint,
    'name', quote_ident(r.conname),
    'heldBy', format('%I.%I', s.nspname, c.relname),
    'from', k.conrelid::bigint,
    'to', k.confrelid::bigint,
    'extension', (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
                      AND (d.classid, d.objid) IN (('pg_class'::regclass, c.oid), ('pg_namespace'::regclass, s.oid))
                    LIMIT 1)
  ) ORDER BY k.root, k.confrelid, k.conrelid), '[]')::text
FROM keys k
JOIN pg_constraint r ON r.oid = k.root
JOIN pg_class c ON c.oid = r.conrelid
JOIN pg_namespace s ON s.oid = c.relnamespace
WHERE k.above = 0;

-- Triggers on TRUNCATE (32) that would fire.
SELECT coalesce(json_agg(json_build_object('name', quote_ident(tgname), 'table', tgrelid::bigint)
    ORDER BY tgrelid, tgname), '[]')::text
FROM pg_trigger
WHERE tgrelid = ANY ('{below}') AND NOT tgisinternal AND (tgtype & 32) <> 0
  AND tgenabled IN ('A', CASE current_setting('session_replication_role') WHEN 'replica' THEN 'R' ELSE 'O' END);

-- Sequences that would restart.
SELECT coalesce(json_agg(json_build_object(
    'oid', s.oid::bigint,
    'name', format('%I.%I', n.nspname, s.relname),
    'plain', s.relname,
    'schema', n.nspname,
    'table', d.refobjid::bigint,
    'own', pg_has_role(s.relowner, 'USAGE')
  ) ORDER BY s.oid), '[]')::text
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ('{below}')
  AND d.refobjsubid > 0 AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
