//! The market's part of one plan: what is recorded before it is done, and what is taken back by whom
//! it was told. What is asked and told is decided in [`super::clearance`].

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::clearance::{Action, Clear, Clearance, MarketError, Memory, Rules, Seen, Verdict};
use super::{hosted, payloads};
use crate::api::condition::{Conditions, DEALS_CLEAR};
use crate::api::deals::{
    DealsSource, DealsStatus, ForwardDeals, OpenOrders, SourceStatus, SpotDeals,
};
use crate::api::reason::Reason;
use crate::hold::record::Holder;

/// What is said of a market, as a plan is made.
#[derive(Debug)]
pub struct Session<'a> {
    holder: &'a Holder,
    rules: Option<&'a Rules>,
    seen: Option<&'a Seen>,
    now: Timestamp,
    /// What the status is to say; none where there is no market.
    pub status: Option<DealsStatus>,
    /// What is to be remembered.
    pub memory: Memory,
    /// What is to be done, in order.
    pub actions: Vec<Action>,
    /// What `DealsClear` is to say; none where it stays as it is.
    pub clear: Option<Clear>,
    /// The market has to be seen first.
    pub needs_look: bool,
}

/// Whether a market may be spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prepared {
    /// It may.
    Yes,
    /// Where it is served is recorded now: the status has to be written first.
    Recorded,
    /// Another one is still to take back what it was told.
    Waiting,
}

/// When something is to stop, as far as a market is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    /// When.
    pub at: Timestamp,
    /// Until when it makes sense to wait for it; none for ever.
    pub until: Option<Timestamp>,
}

impl Start {
    /// What to announce of it: never earlier than the last Forward deal's end, and nothing where it will
    /// not come.
    fn announced(self, forward: ForwardDeals, earliest: Option<Timestamp>) -> Option<Timestamp> {
        let Some(earliest) = earliest.filter(|earliest| *earliest > self.at) else {
            return Some(self.at);
        };
        let comes = match forward {
            ForwardDeals::Wait => self.until.is_none_or(|until| earliest < until),
            ForwardDeals::Postpone => true,
            ForwardDeals::Refuse => false,
        };
        comes.then_some(earliest)
    }
}

/// What is done while a market is forgotten.
pub const TAKING_BACK: &str = "taking back what was announced, offering again what was withdrawn";

/// For what was begun under a spec that no longer says anything of deals.
fn without_rules() -> Rules {
    Rules {
        source: DealsSource::default(),
        forward: ForwardDeals::default(),
        spot: SpotDeals::default(),
        orders: OpenOrders::default(),
        restore_orders: true,
        settle: SignedDuration::ZERO,
    }
}

/// Whether another set of settings is served at the same place.
fn same_server(known: &SourceStatus, wanted: &SourceStatus) -> bool {
    let SourceStatus { service, port, ca_config_map_ref, bridge } = wanted;
    known.service == *service
        && known.port == *port
        && known.ca_config_map_ref == *ca_config_map_ref
        && known.bridge.is_some() == bridge.is_some()
}

impl<'a> Session<'a> {
    /// With what the status says and what was seen.
    pub fn new(
        holder: &'a Holder,
        rules: Option<&'a Rules>,
        status: Option<DealsStatus>,
        seen: Option<&'a Seen>,
        memory: Memory,
        now: Timestamp,
    ) -> Self {
        Self {
            holder,
            rules,
            seen,
            now,
            status,
            memory,
            actions: Vec::new(),
            clear: None,
            needs_look: false,
        }
    }

    /// Whether the source is recorded, so that the market may be spoken to.
    pub fn prepared(&mut self) -> Prepared {
        let Some(rules) = self.rules else { return Prepared::Waiting };
        let wanted = hosted::source(self.holder, &rules.source);
        match self.status.as_ref().and_then(|deals| deals.source.clone()) {
            Some(known) if known == wanted => return Prepared::Yes,
            // What was told by another has to be taken back by it.
            Some(known) if !same_server(&known, &wanted) && !self.forgotten(true) => {
                return Prepared::Waiting;
            }
            _ => {}
        }
        let deals = self.status.get_or_insert_default();
        // Something may be kept from before, of an object of the same name. A look will tell.
        deals.withdrawn |= deals.source.is_none();
        deals.source = Some(wanted);
        Prepared::Recorded
    }

    /// Whether the market has been looked at in this pass. Where it has not, it will be.
    pub fn looked(&mut self) -> bool {
        self.needs_look |= self.seen.is_none();
        self.seen.is_some()
    }

    /// When the last deal with a fixed term runs out, as far as the last look tells.
    pub fn earliest(&self) -> Option<Time> {
        self.status.as_ref()?.forward.first().map(|deal| deal.ends_at.clone())
    }

    /// Before the start: the market knows of it, and everything is offered. `start` may depend on when the last
    /// Forward deal ends. Returns when to look again.
    pub fn ahead(
        &mut self,
        planned: Timestamp,
        start: impl Fn(Option<Timestamp>) -> Start,
        awake: bool,
    ) -> SignedDuration {
        let left = planned.duration_since(self.now);
        let mut again = left;
        self.with_gate(|gate| {
            let unfinished = gate.status.withdrawn
                || gate.status.announcement.as_ref().is_none_or(|announced| !announced.made);
            let due = gate.look_is_due(left);
            if gate.seen.is_some() {
                let earliest = gate.earliest();
                let start = start(earliest);
                let announced = start.announced(gate.rules.forward, earliest);
                let refused = gate.would_be_refused(start.at);
                let told = announced.filter(|_| !refused);
                gate.announce(told);
                if !told.is_some_and(|at| gate.is_near(at)) && awake {
                    gate.offer_again();
                }
            }
            let busy = !gate.actions.is_empty() || gate.trouble().is_some();
            if busy {
                again = again.min(gate.again());
            }
            if let Some(next) = gate.memory.next_look {
                again = again.min(next.duration_since(gate.now));
            }
            gate.seen.is_none() && (due || unfinished)
        });
        again.max(SignedDuration::from_secs(1))
    }

    /// Whether the market permits that something stops. Until it does, what may be ended is, and the
    /// market knows why. With it, when to look again.
    pub fn permits(&mut self, start: Start) -> (Verdict, SignedDuration) {
        let mut verdict = Verdict::Draining("looking".to_owned());
        let mut again = SignedDuration::ZERO;
        self.with_gate(|gate| {
            verdict = gate.clear();
            again = gate.between_looks().min(gate.again());
            match &verdict {
                Verdict::Draining(_) => {
                    let known = gate.status.announcement.as_ref();
                    if known.is_none_or(|known| known.at.0 > gate.now || !known.made) {
                        // Told before the drain, so that nobody offers again what is withdrawn; and after
                        // what is kept: from its start on, the market may close deals by itself.
                        let drain =
                            gate.actions.pop_if(|action| matches!(action, Action::Drain(_)));
                        gate.announce(Some(start.at));
                        gate.actions.extend(drain);
                    }
                }
                Verdict::Forward(earliest, _) => {
                    let announced = start.announced(gate.rules.forward, Some(*earliest));
                    // From the announced time on a market may close by itself what is not to be touched.
                    let refused = gate.would_be_refused(*earliest);
                    gate.announce(announced.filter(|_| !refused));
                    let left = earliest.duration_since(gate.now).as_secs() / 10;
                    again = SignedDuration::from_secs(left.clamp(1, 30));
                }
                Verdict::Unknown(_) => again = gate.again().max(SignedDuration::from_secs(2)),
                Verdict::Clear | Verdict::Refused(_) => {}
            }
            false
        });
        (verdict, again)
    }

    /// What was said of the market last stays said: it can't be told now, and need not be.
    pub fn as_before(&mut self) {
        self.clear = None;
    }

    /// Takes in what was seen, and does nothing.
    pub fn only_look(&mut self) {
        self.with_gate(|_| false);
    }

    /// Whether nothing is withdrawn and nothing announced any more; `wholly`: nor is there a bridge.
    pub fn forgotten(&mut self, wholly: bool) -> bool {
        let Some(deals) = &self.status else { return true };
        let Some(source) = deals.source.clone() else {
            self.status = None;
            return true;
        };
        if self.seen.is_none() && (deals.withdrawn || deals.announcement.is_some()) {
            self.needs_look = true;
            return false;
        }
        let mut left = false;
        let mut gone = false;
        self.with_gate(|gate| {
            left = gate.leave();
            gone = gate.memory.bridge_gone || source.bridge.is_none();
            if left && wholly && !gone {
                gate.actions.push(Action::RemoveBridge);
            }
            false
        });
        if !left || (wholly && !gone) {
            return false;
        }
        if wholly {
            self.status = None;
            self.clear = None;
            self.memory = Memory::default();
        }
        true
    }

    /// Takes the bridge away, whatever may still be to be told.
    pub fn abandon(&mut self) {
        let hosted = |deals: &DealsStatus| {
            deals.source.as_ref().is_some_and(|source| source.bridge.is_some())
        };
        if self.status.as_ref().is_some_and(hosted) {
            self.actions.push(Action::RemoveBridge);
        }
    }

    /// What there is to say when the object goes though something is off the market that was to be offered
    /// again.
    pub fn left_behind(&self) -> Option<MarketError> {
        self.status.as_ref().filter(|deals| deals.withdrawn)?;
        let kept = payloads::name(self.holder);
        Some(MarketError {
            reason: Reason::LeftBehind,
            message: format!(
                "what was withdrawn is not back on the market: ConfigMap {kept} has what it takes"
            ),
        })
    }

    /// How soon there is something to do again.
    pub fn again(&self) -> SignedDuration {
        self.memory.again(self.now)
    }

    /// Sets `DealsClear`, or takes it away where there is no market any more.
    pub fn set_condition(&self, conditions: &mut Vec<Condition>, generation: Option<i64>) {
        let mut conditions = Conditions::new(conditions, generation, self.now);
        match &self.clear {
            Some(Clear { status, reason, message }) => {
                conditions.set(DEALS_CLEAR, *status, reason, message);
            }
            None if self.status.is_none() => conditions.remove(DEALS_CLEAR),
            // As it was last seen.
            None => {}
        }
    }

    /// What the market has answered, where the last call or look failed.
    pub fn trouble(&self) -> Option<MarketError> {
        let look = self.seen.and_then(|seen| seen.look.as_ref().err());
        let call = self.memory.trouble.as_ref().map(|(trouble, _)| trouble);
        call.or(look).cloned()
    }

    /// Lets the gate decide; where it says so, the market has to be seen first.
    fn with_gate(&mut self, decide: impl FnOnce(&mut Clearance) -> bool) {
        let without = without_rules();
        let rules = self.rules.unwrap_or(&without);
        let status = self.status.clone().unwrap_or_default();
        let mut gate = Clearance::new(rules, status, self.seen, self.memory.clone(), self.now);
        self.needs_look |= decide(&mut gate);
        let Clearance { status, memory, actions, clear, .. } = gate;
        self.status = Some(status);
        self.memory = memory;
        self.actions.extend(actions);
        self.clear = clear.or(self.clear.take());
    }
}
