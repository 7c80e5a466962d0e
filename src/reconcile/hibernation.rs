//! One pass over a Hibernation: what is seen, what follows, and doing it; and what else the operator has to
//! know of one.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::event::Event;
use crate::api::hibernation::{Attempt, Hibernation, HibernationStatus};
use crate::apiserver::request;
use crate::hibernation::database;
use crate::hibernation::deals::{Plan, plan};
use crate::hibernation::observe::{Observed, Reader};
use crate::hibernation::plan::{FINALIZER, Input, Next};
use crate::hibernation::report;
use crate::hibernation::validate::{Valid, validate};
use crate::hold::record::Holder;
use crate::metrics::{Metrics, ObjectKind};
use crate::reconcile::context::{Context, Notes};
use crate::reconcile::kind::{InvalidSpec, Managed};
use crate::reconcile::market::Market;
use crate::reconcile::object::{Planned, carry_out, fresh_id};
use crate::reconcile::run::Error;
use crate::reconcile::watch_filter::WatchFilter;
use crate::schedule::Resolved;

/// Plans that one pass may make, each with more seen than the one before: pods, and the market.
const PLANS: usize = 3;

impl Managed for Hibernation {
    const KIND: ObjectKind = ObjectKind::Hibernation;
    type Valid = Valid;

    fn validate(&self) -> Result<Valid, InvalidSpec> {
        validate(&self.spec).map_err(|invalid| InvalidSpec::new(invalid.reason(), &invalid))
    }

    fn unreadable(&self) -> Valid {
        Valid::unreadable(&self.spec)
    }

    /// What a deletion may take, and after it a truncation that nobody could look at.
    fn longest_deletion(&self) -> SignedDuration {
        let fence = database::TIME_LIMIT + database::CLOCK_MARGIN;
        self.unreadable().deadline.saturating_add(fence)
    }

    fn interest(valid: &Valid, status: &HibernationStatus) -> WatchFilter {
        WatchFilter::of(valid, &status.originals)
    }

    fn phase(status: &HibernationStatus) -> Option<String> {
        status.phase.map(|phase| format!("{phase:?}"))
    }

    fn next_change(
        valid: &Valid,
        _status: &HibernationStatus,
        now: Timestamp,
    ) -> Option<Timestamp> {
        Resolved::at(&valid.basis, valid.override_.as_ref(), now).next.map(|next| next.at)
    }

    fn invalid(
        before: &HibernationStatus,
        generation: Option<i64>,
        reason: &str,
        message: &str,
        now: Timestamp,
    ) -> HibernationStatus {
        report::invalid(before, generation, reason, message, now)
    }

    fn failing(
        before: &HibernationStatus,
        generation: Option<i64>,
        message: &str,
        now: Timestamp,
    ) -> HibernationStatus {
        report::failing(before, generation, message, now)
    }

    fn events(before: &HibernationStatus, after: &HibernationStatus) -> Vec<Event> {
        report::events(before, after)
    }

    fn measure(before: &HibernationStatus, after: &HibernationStatus, metrics: &Metrics) {
        if let Some(done) = &after.truncation
            && before.truncation.as_ref() != Some(done)
        {
            metrics.truncated(done.bytes_freed.try_into().unwrap_or_default());
        }
    }

    async fn pass(
        &self,
        context: &Context,
        holder: &Holder,
        valid: &Valid,
        notes: &mut Notes,
        now: Timestamp,
    ) -> Result<(Next, Self), Error> {
        let status = self.status.clone().unwrap_or_default();
        let reader = Reader { client: context.client.clone(), namespace: holder.namespace.clone() };
        let deleting_since = self.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let mut seen = observe(&reader, deleting_since.is_some(), valid, &status).await?;
        let fresh_id = fresh_id(self, now);
        let rules = valid.deals.as_ref();
        let mut market = Market::new(context, holder, status.deals.as_ref(), rules);
        let mut planned = None;
        for _ in 0..PLANS {
            let input = Input {
                holder,
                generation: self.metadata.generation,
                deleting_since,
                finalizer: self.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
                spec: valid,
                status: &status,
                seen: &seen,
                looks: &notes.looks,
                contests: &notes.contests,
                now,
                fresh_id: &fresh_id,
                held_off: false,
            };
            let plan = plan(input, market.seen.as_ref(), &notes.market);
            match plan.hold.next {
                Next::LookAtPods => seen.pods = Some(reader.pods().await?),
                Next::LookAtMarket if market.look(&mut notes.market).await => {}
                _ => {
                    planned = Some(plan);
                    break;
                }
            }
        }
        // Each look is asked for once, so that the last plan asks for none.
        let Some(Plan { hold: planned, calls, gate }) = planned else {
            return Ok((Next::Again, self.clone()));
        };
        (notes.market, notes.looks) = (gate, planned.looks);
        let next = planned.next;
        let planned = Planned {
            status: planned.status,
            calls,
            actions: planned.actions,
            listens: planned.listens,
        };
        let database = valid.database.as_ref();
        let read = carry_out(context, (self, holder), planned, &market, database, notes).await?;
        Ok((next, read))
    }
}

/// What a plan looks at, pods aside.
pub async fn observe(
    reader: &Reader,
    deleting: bool,
    valid: &Valid,
    status: &HibernationStatus,
) -> Result<Observed, request::Error> {
    // Then nothing else matters: what can't be seen there keeps nothing.
    if deleting && reader.namespace_deleting().await {
        return Ok(Observed { namespace_deleting: true, ..Observed::default() });
    }
    let waking = status.episode.as_ref().is_some_and(|episode| episode.waking_since.is_some());
    let attempt = status.episode.as_ref().and_then(|episode| episode.attempt.as_ref());
    let truncation = attempt.filter(|attempt| attempt.ended.is_none() || waking || deleting);
    let preflight = status.preflight.as_ref().map(|preflight| &preflight.attempt);
    let preflight = preflight.filter(|attempt| attempt.ended.is_none());
    let job = async |attempt: Option<&Attempt>| match attempt {
        Some(attempt) => reader.job(&attempt.job).await.map(Some),
        None => Ok(None),
    };
    let ((workloads, config_maps), truncation, preflight) = futures::try_join!(
        reader.subjects(valid, &status.originals),
        job(truncation),
        job(preflight)
    )?;
    Ok(Observed { workloads, config_maps, preflight, truncation, ..Observed::default() })
}
