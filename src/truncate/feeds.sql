-- What takes its values from a sequence that belongs to one of the relations {below}: defaults, also by way
-- of functions and domains. It can come and go without a lock on them.
WITH RECURSIVE owned AS (
  SELECT d.objid AS oid
  FROM pg_depend d
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ('{below}')
    AND d.refobjsubid > 0 AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
),
feeds AS (
  SELECT o.oid AS sequence, d.classid, d.objid, d.objsubid
  FROM owned o
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = o.oid AND d.deptype = 'n'
  UNION
  SELECT f.sequence, d.classid, d.objid, d.objsubid
  FROM feeds f
  JOIN pg_depend d ON d.refclassid = f.classid AND d.refobjid = f.objid AND d.deptype IN ('n', 'a')
  WHERE f.classid IN ('pg_proc'::regclass, 'pg_type'::regclass)
),
fed AS (
  SELECT f.sequence, ad.adrelid AS relation, ad.adnum AS col
  FROM feeds f JOIN pg_attrdef ad ON f.classid = 'pg_attrdef'::regclass AND ad.oid = f.objid
  UNION
  SELECT f.sequence, f.objid, f.objsubid
  FROM feeds f
  WHERE f.classid = 'pg_class'::regclass AND f.objsubid > 0
)
SELECT coalesce(json_agg(json_build_object(
    'sequence', f.sequence::bigint,
    'table', f.relation::bigint,
    'column', format('%I.%I.%I', s.nspname, c.relname, a.attname)
  ) ORDER BY f.sequence, f.relation, f.col), '[]')::text
FROM fed f
JOIN pg_class c ON c.oid = f.relation AND c.relkind IN ('r', 'p', 'f')
JOIN pg_namespace s ON s.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = f.relation AND a.attnum = f.col
