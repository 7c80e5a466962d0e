-- Fills the tables of Cornice, each with something and the runtime tables with most of it.
-- Does nothing where there are users already. `cornice.scale` says how much (1 is a few thousand
-- rows, most of them prices).

DO $$
DECLARE
    scale integer := coalesce(nullif(current_setting('cornice.scale', true), ''), '1')::integer;
BEGIN
    IF EXISTS (SELECT FROM users) THEN
        RETURN;
    END IF;

    INSERT INTO users (handle, email, password_hash, is_admin)
    SELECT 'user-' || n, 'user-' || n || '@cornice.example', encode(sha256(('pw' || n)::bytea), 'hex'), n = 1
    FROM generate_series(1, 40) n;
    INSERT INTO user_profiles (user_id, display_name, time_zone, preferences)
    SELECT id, initcap(handle), 'Europe/Kyiv', jsonb_build_object('theme', 'dark', 'rank', id) FROM users;
    INSERT INTO user_secrets (user_id, name, ciphertext, nonce)
    SELECT u.id, v.venue, sha256((u.handle || v.venue)::bytea), substring(sha256(u.email::bytea) FROM 1 FOR 12)
    FROM users u, (VALUES ('venue-a'), ('venue-b')) v (venue);
    INSERT INTO global_markets (slug, question, closes)
    SELECT 'event-' || n, 'Does event ' || n || ' happen?', date '2027-01-01' + n FROM generate_series(1, 50) n;
    INSERT INTO markets (global_market_id, venue, ticker)
    SELECT g.id, v.venue, upper(g.slug) FROM global_markets g, (VALUES ('venue-a'), ('venue-b')) v (venue);
    INSERT INTO market_links (market_id, linked_id, confidence)
    SELECT a.id, b.id, 0.9 FROM markets a JOIN markets b USING (global_market_id) WHERE a.id < b.id;
    INSERT INTO arb_monitor_profiles (owner_id, name, min_edge, max_stake)
    SELECT id, 'default', 0.02, 100 FROM users WHERE id <= 10;

    INSERT INTO opportunities (global_market_id, kind, edge)
    SELECT id, 'cross-venue', 0.03 FROM global_markets;
    INSERT INTO arb_opportunity_instances (opportunity_id, profile_id, closed_at)
    SELECT o.id, p.id, now() FROM opportunities o JOIN arb_monitor_profiles p ON p.id = o.id % 10 + 1;
    INSERT INTO arb_opportunity_legs (instance_id, leg, market_id, side, price)
    SELECT i.id, l.leg, m.id, l.side, 0.5
    FROM arb_opportunity_instances i, (VALUES (1, 'buy'), (2, 'sell')) l (leg, side), markets m
    WHERE m.id = i.id % 100 + 1;

    INSERT INTO hourly_prices (market_id, price, volume, recorded_by, recorded_at)
    SELECT n % 100 + 1, (n % 97) / 100.0, n % 1000, 'seed', now() - n * interval '1 minute'
    FROM generate_series(1, 5000 * scale) n;
    INSERT INTO market_snapshots (market_id, bid, ask, recorded_by)
    SELECT n % 100 + 1, 0.48, 0.52, 'seed' FROM generate_series(1, 500 * scale) n;
    INSERT INTO orderbook_snapshots (snapshot_id, market_id, book, recorded_by)
    SELECT id, market_id, jsonb_build_object('bids', jsonb_build_array(bid), 'asks', jsonb_build_array(ask)), 'seed'
    FROM market_snapshots;
    INSERT INTO opportunity_observations (opportunity_id, edge, recorded_by)
    SELECT n % 50 + 1, 0.03, 'seed' FROM generate_series(1, 500 * scale) n;
    INSERT INTO requests (user_id, path, recorded_by)
    SELECT n % 40 + 1, '/stats', 'seed' FROM generate_series(1, 200 * scale) n;
    INSERT INTO agent_runs (profile_id, recorded_by)
    SELECT n % 10 + 1, 'seed' FROM generate_series(1, 50 * scale) n;
    INSERT INTO agent_findings (run_id, market_id, note, recorded_by)
    SELECT id, 1, 'prices differ between venues', 'seed' FROM agent_runs;
    INSERT INTO arb_observations (instance_id, spread, recorded_by)
    SELECT n % 50 + 1, 0.02, 'seed' FROM generate_series(1, 200 * scale) n;
    INSERT INTO arb_go_signals (observation_id, stake, recorded_by)
    SELECT id, 25, 'seed' FROM arb_observations WHERE id % 4 = 0;
    INSERT INTO simulator_runs (owner_id, strategy, recorded_by)
    SELECT n % 40 + 1, 'mean-reversion', 'seed' FROM generate_series(1, 20 * scale) n;
    INSERT INTO simulator_trades (run_id, market_id, pnl, recorded_by)
    SELECT r.id, n, n - 5, 'seed' FROM simulator_runs r, generate_series(1, 10) n;
    INSERT INTO executions (user_id, signal_id, recorded_by)
    SELECT id % 40 + 1, id, 'seed' FROM arb_go_signals;
    INSERT INTO execution_orders (execution_id, market_id, quantity, recorded_by)
    SELECT e.id, m.market_id, 10, 'seed' FROM executions e, (VALUES (1), (2)) m (market_id);
END
$$;
