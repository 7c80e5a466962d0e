-- What the catalogs say about the tables that are asked for ($2), those that are to stay ($3), both
-- in schema $1, and everything that hangs on them, as one JSON document. Names go in as values and
-- come out quoted by the database. No table but the catalogs is opened or locked.
WITH RECURSIVE
space AS (
  SELECT oid, nspname FROM pg_namespace WHERE nspname = $1
),
named AS (
  SELECT c.oid, n.name, n.asked
  FROM (SELECT unnest($2) AS name, true AS asked UNION ALL SELECT unnest($3), false) n
  JOIN pg_class c ON c.relname = n.name AND c.relnamespace = (SELECT oid FROM space)
),
below AS (
  SELECT oid FROM named WHERE asked
  UNION
  SELECT i.inhrelid
  FROM below b JOIN pg_inherits i ON i.inhparent = b.oid
),
above AS (
  SELECT oid FROM named WHERE asked
  UNION
  SELECT i.inhparent FROM above a JOIN pg_inherits i ON i.inhrelid = a.oid
),
family AS (
  SELECT oid FROM below UNION SELECT oid FROM above UNION SELECT oid FROM named
),
-- A foreign key of or to a partitioned table has a copy per partition; the root is the one that a
-- person made and can drop.
keys AS (
  SELECT oid, conrelid, confrelid, oid AS root, conparentid AS above
  FROM pg_constraint
  WHERE contype = 'f' AND conrelid <> confrelid AND confrelid IN (SELECT oid FROM below)
  UNION ALL
  SELECT k.oid, k.conrelid, k.confrelid, p.oid, p.conparentid
  FROM keys k JOIN pg_constraint p ON p.oid = k.above
),
owned AS (
  SELECT s.oid, s.relowner, s.relnamespace, s.relname, d.refobjid AS relation
  FROM pg_depend d
  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM below)
    AND d.refobjsubid > 0 AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
),
-- What takes its values from such a sequence: defaults, also by way of functions and domains.
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
SELECT json_build_object(
  'schema', coalesce((SELECT quote_ident(nspname) FROM space), ''),
  'schemaExists', EXISTS (SELECT FROM space),
  'schemaUsable', coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM space), false),
  'relations', coalesce((
    SELECT json_agg(json_build_object(
      'oid', c.oid::bigint,
      'name', format('%I.%I', s.nspname, c.relname),
      'asked', coalesce(n.asked, false),
      'kept', coalesce(NOT n.asked, false),
      'listedAs', n.name,
      'kind', c.relkind::text,
      'temporary', c.relpersistence = 't',
      'logged', c.relpersistence = 'p',
      'system', c.oid < 16384,
      'partition', c.relispartition,
      'parents', coalesce((SELECT json_agg(i.inhparent::bigint ORDER BY i.inhseqno)
                           FROM pg_inherits i WHERE i.inhrelid = c.oid), '[]'),
      -- The column came with PostgreSQL 14.
      'detaching', EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid
                           AND (to_jsonb(i) ->> 'inhdetachpending')::boolean),
      'mayTruncate', coalesce(has_table_privilege(c.oid, 'TRUNCATE'), false),
      -- An estimate: of the last VACUUM or ANALYZE, or, where none saw a page, of the statistics.
      'rows', CASE
        WHEN c.relkind <> 'r' THEN 0
        WHEN c.reltuples >= 0 AND c.relpages > 0 THEN c.reltuples::bigint
        ELSE coalesce(pg_stat_get_live_tuples(c.oid), 0) END
    ) ORDER BY c.oid)
    FROM family f
    JOIN pg_class c ON c.oid = f.oid
    JOIN pg_namespace s ON s.oid = c.relnamespace
    LEFT JOIN named n ON n.oid = c.oid), '[]'),
  'keys', coalesce((
    SELECT json_agg(json_build_object(
      'root', k.root::bigint,
      'name', quote_ident(r.conname),
      'heldBy', format('%I.%I', s.nspname, c.relname),
      'from', k.conrelid::bigint,
      'to', k.confrelid::bigint
    ) ORDER BY k.root, k.confrelid, k.conrelid)
    FROM keys k
    JOIN pg_constraint r ON r.oid = k.root
    JOIN pg_class c ON c.oid = r.conrelid
    JOIN pg_namespace s ON s.oid = c.relnamespace
    WHERE k.above = 0), '[]'),
  'triggers', coalesce((
    SELECT json_agg(json_build_object('name', quote_ident(t.tgname), 'table', t.tgrelid::bigint)
      ORDER BY t.tgrelid, t.tgname)
    FROM pg_trigger t
    WHERE t.tgrelid IN (SELECT oid FROM below) AND NOT t.tgisinternal
      AND (t.tgtype & 32) <> 0  -- TRIGGER_TYPE_TRUNCATE
      AND t.tgenabled IN ('A', CASE current_setting('session_replication_role')
                               WHEN 'replica' THEN 'R' ELSE 'O' END)), '[]'),
  'sequences', coalesce((
    SELECT json_agg(json_build_object(
      'oid', o.oid::bigint,
      'name', format('%I.%I', s.nspname, o.relname),
      'table', o.relation::bigint,
      'own', pg_has_role(o.relowner, 'USAGE')
    ) ORDER BY o.oid)
    FROM owned o JOIN pg_namespace s ON s.oid = o.relnamespace), '[]'),
  'feeds', coalesce((
    SELECT json_agg(json_build_object(
      'sequence', f.sequence::bigint,
      'table', f.relation::bigint,
      'column', format('%I.%I.%I', s.nspname, c.relname, a.attname)
    ) ORDER BY f.sequence, f.relation, f.col)
    FROM fed f
    JOIN pg_class c ON c.oid = f.relation
    JOIN pg_namespace s ON s.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = f.relation AND a.attnum = f.col
    WHERE c.relkind IN ('r', 'p', 'f')), '[]')
)::text
