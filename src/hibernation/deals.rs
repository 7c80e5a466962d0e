//! A Hibernation whose application is bound by deals: between the plan and what is done of it stands the
//! market. Until that permits it, the project stays awake. Pure.

use jiff::Timestamp;

use super::plan::{self as hold, Action, Next};
use crate::api::condition::{self, READY, RECONCILING, STALLED};
use crate::api::deals::ForwardDeals;
use crate::api::hibernation::{OnDelete, Phase, StepStatus};
use crate::api::schedule::DesiredState;
use crate::deals::clearance::{self, MarketError, Memory, Seen, Verdict};
use crate::deals::session::{Prepared, Session, Start, TAKING_BACK};
use crate::schedule::Resolved;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What to do.
#[derive(Debug)]
pub struct Plan {
    /// In the cluster, with the status.
    pub hold: hold::Plan,
    /// At the market, before that.
    pub calls: Vec<clearance::Action>,
    /// What is remembered of the market.
    pub gate: Memory,
}

/// Makes the plan. `market` is what was seen of it in this pass.
pub fn plan(input: hold::Input, market: Option<&Seen>, memory: &Memory) -> Plan {
    let rules = input.spec.deals.as_ref();
    let untouched = rules.is_none() && input.status.deals.is_none();
    let deleting = input.deleting_since.is_some();
    if untouched || input.seen.namespace_deleting || (input.spec.dry_run && !deleting) {
        return Plan { hold: hold::plan(input), calls: Vec::new(), gate: memory.clone() };
    }
    let deals = input.status.deals.clone();
    let dealings = Session::new(input.holder, rules, deals, market, memory.clone(), input.now);
    let desired = Resolved::at(&input.spec.basis, input.spec.override_.as_ref(), input.now);
    let mut draft = Draft { input, dealings, desired };
    let mut hold = if deleting {
        draft.delete()
    } else if rules.is_some() && draft.desired.state == DesiredState::Hibernated {
        draft.go_down()
    } else {
        draft.stay_up()
    };
    let generation = input.generation;
    draft.dealings.set_condition(&mut hold.status.conditions, generation);
    let Session { status, actions, memory, needs_look, .. } = draft.dealings;
    if needs_look {
        hold.next = Next::LookAtMarket;
    }
    hold.status.earliest_start =
        status.as_ref().and_then(|deals| deals.forward.first().map(|deal| deal.ends_at.clone()));
    hold.status.deals = status;
    if hold.next == Next::Settled && !(actions.is_empty() && hold.actions.is_empty()) {
        hold.next = Next::Again;
    }
    Plan { hold, calls: actions, gate: memory }
}

struct Draft<'a> {
    input: hold::Input<'a>,
    dealings: Session<'a>,
    desired: Resolved,
}

impl Draft<'_> {
    /// It is asked to sleep, and does once the market permits it.
    fn go_down(&mut self) -> hold::Plan {
        let free = hold::plan(self.input);
        let mut off = hold::plan(hold::Input { held_off: true, ..self.input });
        let prepared = self.prepared(&mut off);
        let episode = self.input.status.episode.as_ref();
        let under_way = episode.is_some_and(|episode| episode.waking_since.is_none());
        // What is down is looked after without the market; each stop asks it.
        if prepared && under_way && (free.next == Next::LookAtPods || !free.stops()) {
            return free;
        }
        if !prepared || !self.dealings.looked() {
            return off;
        }
        let waits = |kind: &str| {
            let mut conditions = off.status.conditions.iter();
            conditions.any(|condition| condition.type_ == kind && condition.status == "True")
        };
        if !under_way && (waits(STALLED) || waits(RECONCILING)) {
            // Nothing is withdrawn for what could not be stopped then.
            self.dealings.only_look();
            return off;
        }
        let now = self.input.now;
        let until = self.desired.next.as_ref().map(|next| next.at);
        let (verdict, again) = self.dealings.permits(Start { at: now, until });
        let stalled = match verdict {
            Verdict::Clear => return free,
            // From the first stop on, what is stopped may be what tells of the market.
            Verdict::Unknown(_)
                if free.finds_it_stopped(self.input.holder, self.input.spec, self.input.seen) =>
            {
                self.dealings.as_before();
                return free;
            }
            Verdict::Forward(_, message) => {
                let rules = self.input.spec.deals.as_ref();
                let refuse = rules.is_some_and(|rules| rules.forward == ForwardDeals::Refuse);
                let reason = if refuse { "ForwardDealsRefused" } else { "ForwardDeals" };
                (refuse, trouble(reason, message))
            }
            Verdict::Refused(refused) => (true, refused),
            Verdict::Draining(message) => (false, trouble("Draining", message)),
            Verdict::Unknown(unknown) => (unknown.needs_a_person(), unknown),
        };
        let (mut stalled, mut said) = stalled;
        if stalled {
            // It stays awake, and nothing is to look otherwise.
            self.dealings.forgotten(false);
        } else if let Some(trouble) = self.dealings.trouble() {
            (stalled, said) = (trouble.needs_a_person(), trouble);
        }
        self.say(&mut off, stalled, &said);
        let asleep = off.status.phase != Some(Phase::Awake);
        off.next = match off.next {
            Next::Settled if off.actions.is_empty() && self.dealings.actions.is_empty() => {
                Next::Wait(again)
            }
            Next::Wait(wait) => Next::Wait(wait.min(again)),
            other if asleep => other,
            _ => Next::Again,
        };
        off
    }

    /// It is awake, or wakes; the market knows when it is to sleep next.
    fn stay_up(&mut self) -> hold::Plan {
        let mut up = hold::plan(self.input);
        if up.status.phase != Some(Phase::Awake) {
            // What it finds asleep may have been put to sleep by another, who withdrew something.
            let given = self.input.spec.deals.is_some();
            if given && self.dealings.prepared() == Prepared::Recorded && up.actions.is_empty() {
                up.next = Next::Again;
            }
            return up;
        }
        let next = self.desired.next.as_ref();
        let edge = next.filter(|next| next.state == DesiredState::Hibernated);
        let edge = edge.filter(|_| self.input.spec.deals.is_some()).map(|next| next.at);
        let Some(edge) = edge else {
            self.leave(&mut up);
            return up;
        };
        if !self.prepared(&mut up) {
            return up;
        }
        let start = |_: Option<Timestamp>| Start { at: edge, until: None };
        let again = self.dealings.ahead(edge, start, true);
        if let Some(trouble) = self.dealings.trouble() {
            let stalled = trouble.needs_a_person();
            self.say(&mut up, stalled, &trouble);
        }
        if up.next == Next::Settled && self.dealings.actions.is_empty() && up.actions.is_empty() {
            up.next = Next::Wait(again);
        }
        up
    }

    fn delete(&mut self) -> hold::Plan {
        let Some(since) = self.input.deleting_since else { return hold::plan(self.input) };
        let mut plan = hold::plan(self.input);
        let late = self.input.now > since + self.input.spec.deadline;
        let removes = plan.actions.iter().any(|action| matches!(action, Action::RemoveFinalizer));
        if self.input.spec.on_delete == OnDelete::Keep {
            // What was withdrawn is for the next object of this name to offer again.
            if removes {
                self.dealings.abandon();
            }
            return plan;
        }
        if plan.status.phase == Some(Phase::Awake) {
            self.leave(&mut plan);
        }
        if late && removes {
            if let Some(left) = self.dealings.left_behind() {
                self.say(&mut plan, true, &left);
            }
            self.dealings.needs_look = false;
            self.dealings.abandon();
            keep_the_finalizer(&mut plan);
            plan.actions.push(Action::RemoveFinalizer);
        }
        plan
    }

    /// Takes everything back; until then the finalizer stays.
    fn leave(&mut self, plan: &mut hold::Plan) {
        if self.dealings.forgotten(true) {
            return;
        }
        keep_the_finalizer(plan);
        let said = self.dealings.trouble();
        let said = said.unwrap_or_else(|| trouble("Restoring", TAKING_BACK.to_owned()));
        self.say(plan, said.needs_a_person(), &said);
        if plan.next == Next::Settled {
            plan.next = Next::Wait(self.dealings.again());
        }
    }

    /// Whether finalizer and source are recorded, before anything is told to a market. Where they are not, they
    /// will be by this plan.
    fn prepared(&mut self, plan: &mut hold::Plan) -> bool {
        keep_the_finalizer(plan);
        let prepared = self.dealings.prepared();
        if !self.input.finalizer {
            plan.actions.push(Action::AddFinalizer);
        }
        if prepared == Prepared::Waiting {
            if let Some(trouble) = self.dealings.trouble() {
                self.say(plan, trouble.needs_a_person(), &trouble);
            }
            if plan.next == Next::Settled {
                plan.next = Next::Wait(self.dealings.again());
            }
        } else if prepared == Prepared::Recorded || !self.input.finalizer {
            plan.next = Next::Again;
        }
        prepared == Prepared::Yes && self.input.finalizer
    }

    /// Says what it waits for; past the deadline a person is needed.
    fn say(&self, plan: &mut hold::Plan, stalled: bool, said: &MarketError) {
        let now = self.input.now;
        let status = &mut plan.status;
        let since = match &self.input.status.step {
            Some(before) if before.name == "Deals" => before.since.clone(),
            _ => Time(now),
        };
        let waits_for_a_deal = said.reason == "ForwardDeals";
        let late = now.duration_since(since.0) > self.input.spec.deadline && !waits_for_a_deal;
        status.step = Some(StepStatus { name: "Deals".to_owned(), since, overdue: Vec::new() });
        let message = format!("Deals: {}", said.message);
        status.message = Some(condition::shorten(&message));
        let reason =
            if late && !stalled { "ProgressDeadlineExceeded" } else { said.reason.as_str() };
        let stalled = stalled || late;
        let generation = self.input.generation;
        let conditions = &mut status.conditions;
        let mut set = |kind, status: bool| {
            condition::set(conditions, kind, status, reason, &message, generation, now);
        };
        set(READY, false);
        set(RECONCILING, !stalled);
        set(STALLED, stalled);
    }
}

fn trouble(reason: &str, message: String) -> MarketError {
    MarketError { reason: reason.to_owned(), message }
}

/// While a market is spoken to, it stays.
fn keep_the_finalizer(plan: &mut hold::Plan) {
    plan.actions.retain(|action| !matches!(action, Action::RemoveFinalizer));
    if plan.next == Next::Again && plan.actions.is_empty() {
        plan.next = Next::Settled;
    }
}

#[cfg(test)]
#[path = "deals_tests.rs"]
mod tests;
