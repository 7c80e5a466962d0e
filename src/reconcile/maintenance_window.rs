//! One pass over a MaintenanceWindow: what is seen, what follows, and doing it; and what else the
//! operator has to know of one.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::event::Event;
use crate::api::maintenance_window::{MaintenanceWindow, MaintenanceWindowStatus};
use crate::hibernation::observe::{Observed, Reader};
use crate::hibernation::plan::{FINALIZER, Next};
use crate::hold::record::Holder;
use crate::maintenance::plan::{Action, Input, plan};
use crate::maintenance::report;
use crate::maintenance::validate::{Valid, validate};
use crate::metrics::ObjectKind;
use crate::reconcile::context::{Context, Notes};
use crate::reconcile::kind::{InvalidSpec, Managed};
use crate::reconcile::market::Market;
use crate::reconcile::object::{Planned, carry_out, fresh_id};
use crate::reconcile::run::Error;
use crate::reconcile::watch_filter::WatchFilter;

/// Plans that one pass may make, each with more seen than the one before: pods, and the market.
const PLANS: usize = 3;

impl Managed for MaintenanceWindow {
    const KIND: ObjectKind = ObjectKind::MaintenanceWindow;
    type Valid = Valid;

    fn validate(&self) -> Result<Valid, InvalidSpec> {
        validate(&self.spec).map_err(|invalid| InvalidSpec::new(invalid.reason(), &invalid))
    }

    fn unreadable(&self) -> Valid {
        Valid::unreadable(&self.spec)
    }

    fn longest_deletion(&self) -> SignedDuration {
        self.unreadable().deadline
    }

    fn interest(valid: &Valid, status: &MaintenanceWindowStatus) -> WatchFilter {
        WatchFilter::of(&valid.down, &status.originals)
    }

    fn phase(status: &MaintenanceWindowStatus) -> Option<String> {
        status.phase.map(|phase| format!("{phase:?}"))
    }

    fn next_change(
        _valid: &Valid,
        status: &MaintenanceWindowStatus,
        _now: Timestamp,
    ) -> Option<Timestamp> {
        status.next_transition.as_ref().map(|next| next.at.0)
    }

    fn invalid(
        before: &MaintenanceWindowStatus,
        generation: Option<i64>,
        reason: &str,
        message: &str,
        now: Timestamp,
    ) -> MaintenanceWindowStatus {
        report::invalid(before, generation, reason, message, now)
    }

    fn failing(
        before: &MaintenanceWindowStatus,
        generation: Option<i64>,
        message: &str,
        now: Timestamp,
    ) -> MaintenanceWindowStatus {
        report::failing(before, generation, message, now)
    }

    fn events(before: &MaintenanceWindowStatus, after: &MaintenanceWindowStatus) -> Vec<Event> {
        report::events(before, after)
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
        let rules = valid.deals.as_ref();
        let mut market = Market::new(context, holder, status.deals.as_ref(), rules);
        let fresh_id = fresh_id(self, now);
        let created = self.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let mut planned = None;
        for _ in 0..PLANS {
            let plan = plan(Input {
                holder,
                generation: self.metadata.generation,
                created,
                deleting_since,
                finalizer: self.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
                spec: valid,
                status: &status,
                seen: &seen,
                market: market.seen.as_ref(),
                gate: &notes.market,
                looks: &notes.looks,
                contests: &notes.contests,
                now,
                fresh_id: &fresh_id,
            });
            match plan.next {
                Next::LookAtPods => seen.pods = Some(reader.pods().await?),
                Next::LookAtMarket if market.look(&mut notes.market).await => {}
                _ => {
                    planned = Some(plan);
                    break;
                }
            }
        }
        // Each look is asked for once, so that the last plan asks for none.
        let Some(planned) = planned else { return Ok((Next::Again, self.clone())) };
        (notes.market, notes.looks) = (planned.gate, planned.looks);
        let (mut calls, mut actions) = (Vec::new(), Vec::new());
        for action in planned.actions {
            match action {
                Action::Hold(action) => actions.push(action),
                Action::Market(action) => calls.push(action),
            }
        }
        let next = planned.next;
        let (status, listens) = (planned.status, planned.listens);
        let planned = Planned { status, calls, actions, listens };
        let read = carry_out(context, (self, holder), planned, &market, None, notes).await?;
        Ok((next, read))
    }
}

/// What a plan looks at, pods and market aside.
async fn observe(
    reader: &Reader,
    deleting: bool,
    valid: &Valid,
    status: &MaintenanceWindowStatus,
) -> Result<Observed, Error> {
    // Then nothing else matters: what can't be seen there keeps nothing.
    if deleting && reader.namespace_deleting().await {
        return Ok(Observed { namespace_deleting: true, ..Observed::default() });
    }
    let (workloads, config_maps) = reader.subjects(&valid.down, &status.originals).await?;
    Ok(Observed { workloads, config_maps, ..Observed::default() })
}
