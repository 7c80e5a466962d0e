//! What is asked of a market before anything stops, and told to it afterwards: the part of a plan that
//! windows and hibernations share. Pure: what was seen goes in, what is to be done comes out.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::client::Look;
use super::open::Open;
use super::types::{Drain, Id, List, Order, cleaned};
use crate::api::deals::{
    AnnouncementStatus, DealStatus, DealsSource, DealsStatus, ForwardDeals, OpenCounts, OpenOrders,
    SpotDeals,
};
use crate::api::reason::Reason;

/// Deals that the status shows.
const SHOWN: usize = 20;
/// How long before its start a window that would be refused is no longer announced: what a market does
/// by itself at the announced time must not happen then.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// And how long before it what is closed then is kept: who closes it by itself may take off the market
/// what it came from before anybody looks again.
const KEEP_BEFORE: SignedDuration = MARGIN;
/// How far the market's word of the next maintenance may be from what it was told: it counts in
/// whole seconds of its own.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);
/// When what was asked for and is not done is asked for again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(15);

/// `spec.deals`, read.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who knows.
    pub source: DealsSource,
    /// What a Forward deal does.
    pub forward: ForwardDeals,
    /// What a Spot deal does.
    pub spot: SpotDeals,
    /// What an order does.
    pub orders: OpenOrders,
    /// Whether orders are offered again.
    pub restore_orders: bool,
    /// Between the two clean looks.
    pub settle: SignedDuration,
}

/// Why a market could not be seen, or told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MarketError {
    /// For the conditions.
    pub reason: Reason,
    /// For a person.
    pub message: String,
}

impl MarketError {
    /// Whether a person has to change something: it does not go by itself.
    pub fn needs_a_person(&self) -> bool {
        matches!(
            self.reason,
            Reason::AuthorityUnusable
                | Reason::BridgeNameTaken
                | Reason::NoServiceAccount
                | Reason::PayloadsTooLarge
                | Reason::PayloadsUnreadable
                | Reason::ServiceNotFound
                | Reason::ServiceUnusable
        )
    }
}

/// What was seen of a market in this pass.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What binds.
    pub look: Result<Look, MarketError>,
    /// What was withdrawn, and is to be offered again.
    pub kept: Result<Vec<Order>, MarketError>,
}

/// What is remembered between passes, and may be lost: it is found out again.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// When the first of a row of clean looks was complete.
    pub first_clean: Option<Timestamp>,
    /// The last drain, and when it was answered.
    pub drained: Option<(Drain, Timestamp)>,
    /// What the market has said yes to since the last plan: a start, or none.
    pub told: Option<Option<Timestamp>>,
    /// Whether the bridge does not know the key that tokens are signed with.
    pub unknown_key: bool,
    /// Whether the bridge has been found gone.
    pub bridge_gone: bool,
    /// What the market has said no to, or not answered; until when that is not tried again.
    pub trouble: Option<(MarketError, Timestamp)>,
    /// How often in a row.
    pub failures: u32,
    /// When the market is to be looked at next, where nothing else is waited for.
    pub next_look: Option<Timestamp>,
}

impl Memory {
    /// Remembers that a call failed. It is tried again, later each time.
    pub fn failed(&mut self, trouble: MarketError, now: Timestamp) {
        self.failures += 1;
        let wait = SignedDuration::from_secs(1 << self.failures.min(5));
        self.trouble = Some((trouble, now + wait));
    }

    /// Whether a call may be made: one that failed is not repeated at once.
    fn may_call(&self, now: Timestamp) -> bool {
        self.trouble.as_ref().is_none_or(|(_, until)| *until <= now)
    }

    /// How soon there is something to do again: when a call that failed may be made again, soon where
    /// none did.
    pub fn again(&self, now: Timestamp) -> SignedDuration {
        match &self.trouble {
            Some((_, until)) if *until > now => until.duration_since(now),
            _ => SignedDuration::from_secs(1),
        }
    }

    /// Remembers that a call was answered.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.trouble = None;
    }
}

/// One thing to do about a market, in the order of the plan. What fails ends the rest of that pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Tell it when the maintenance begins.
    Announce(Timestamp),
    /// Take that back.
    TakeBack,
    /// Keep what is needed to offer these again.
    Keep(Vec<Order>),
    /// End these.
    Drain(Drain),
    /// Offer these again.
    Resume(Vec<Order>),
    /// Forget what was kept: all of it is back.
    Forget,
    /// Take the bridge away.
    RemoveBridge,
}

/// Whether the deals permit a start.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Two looks have found nothing.
    Clear,
    /// Deals with a fixed term are open, the last of them until then.
    Forward(Timestamp, String),
    /// Something is open that is not to be touched.
    Refused(MarketError),
    /// Something is ended, or a second look is due.
    Draining(String),
    /// It can't be told.
    Unknown(MarketError),
}

/// What `DealsClear` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Clear {
    /// None: it can't be told.
    pub status: Option<bool>,
    /// For machines.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// The market's part of a plan in the making.
pub struct Clearance<'a> {
    /// The rules.
    pub rules: &'a Rules,
    /// What the status says, to be changed.
    pub status: DealsStatus,
    /// What was seen in this pass; none where nothing was looked at.
    pub seen: Option<&'a Seen>,
    /// What is remembered, to be changed.
    pub memory: Memory,
    /// The time.
    pub now: Timestamp,
    /// What to do.
    pub actions: Vec<Action>,
    /// What the condition is to say; none where it stays as it is.
    pub clear: Option<Clear>,
}

impl<'a> Clearance<'a> {
    /// With what the market has said yes to since the last plan taken into account.
    pub fn new(
        rules: &'a Rules,
        status: DealsStatus,
        seen: Option<&'a Seen>,
        memory: Memory,
        now: Timestamp,
    ) -> Self {
        let mut gate = Self { rules, status, seen, memory, now, actions: Vec::new(), clear: None };
        match gate.memory.told.take() {
            Some(None) => gate.status.announcement = None,
            Some(Some(at)) => {
                if let Some(announcement) = &mut gate.status.announcement
                    && announcement.at.0 == at
                {
                    announcement.made = true;
                }
            }
            None => {}
        }
        if let Some(Seen { kept: Ok(kept), .. }) = seen {
            gate.status.withdrawn = !kept.is_empty();
            // Who withdrew that had announced something too; what is recorded of it may be lost.
            if let Some(Seen { look: Ok(look), .. }) = seen
                && gate.status.withdrawn
                && gate.status.announcement.is_none()
                && let Some(at) = look.commitments.next_maintenance
            {
                gate.status.announcement = Some(AnnouncementStatus { at: Time(at), made: true });
            }
        }
        gate.take_in();
        gate
    }

    fn open(&self) -> Option<Open<'a>> {
        let look = self.seen?.look.as_ref().ok()?;
        Some(Open::of(&look.commitments, self.now))
    }

    /// Puts what was seen into the status, and says whether it is clear.
    fn take_in(&mut self) {
        let Some(seen) = self.seen else { return };
        match &seen.look {
            Err(trouble) => {
                // What was open is known no more, and an earlier clean look counts for nothing.
                self.memory.first_clean = None;
                self.status.open = None;
                self.say(None, trouble.reason.clone(), trouble.message.clone());
            }
            Ok(look) => {
                let open = Open::of(&look.commitments, self.now);
                let count = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
                self.status.open = Some(OpenCounts {
                    forward: count(open.forward.len()),
                    spot: count(open.spot.len()),
                    orders: count(open.orders.len()),
                    tasks: count(open.tasks.len()),
                });
                let shown = open.forward.iter().take(SHOWN);
                self.status.forward = shown
                    .map(|(deal, ends_at)| DealStatus {
                        id: cleaned(deal.id.as_str()),
                        ends_at: Time(*ends_at),
                    })
                    .collect();
                if !open.nothing() {
                    self.memory.first_clean = None;
                }
                if !open.forward.is_empty() {
                    self.say(Some(false), Reason::ForwardDeals, open.forward_in_words());
                } else if open.nothing() {
                    self.say(Some(true), Reason::Clear, "nothing is open".to_owned());
                } else {
                    self.say(Some(false), Reason::Open, format!("open: {}", open.in_words()));
                }
            }
        }
    }

    fn say(&mut self, status: Option<bool>, reason: Reason, message: String) {
        self.clear = Some(Clear { status, reason, message });
    }

    /// When the last deal with a fixed term runs out, as far as the last look tells.
    pub fn earliest(&self) -> Option<Timestamp> {
        self.status.forward.first().map(|deal| deal.ends_at.0)
    }

    /// Whether the market is to be looked at now, that far from the start. It is looked at often as that
    /// draws near.
    pub fn look_is_due(&mut self, until_start: SignedDuration) -> bool {
        if self.seen.is_some() {
            let left = until_start.as_secs() / 10;
            self.memory.next_look = Some(self.now + SignedDuration::from_secs(left.clamp(1, 60)));
            return false;
        }
        self.memory.next_look.is_none_or(|next| next <= self.now)
    }

    /// Whether what is to be announced before a start at `start` would be false: the start would be
    /// refused, or can't be judged, and is near.
    pub fn would_be_refused(&self, start: Timestamp) -> bool {
        if start.duration_since(self.now) > MARGIN {
            return false;
        }
        let Some(seen) = self.seen else { return false };
        match (&seen.look, self.open()) {
            (Ok(_), Some(open)) => self.refusal(&open).is_some(),
            _ => true,
        }
    }

    fn refusal(&self, open: &Open) -> Option<MarketError> {
        let (reason, what) = if !open.spot.is_empty() && self.rules.spot == SpotDeals::Refuse {
            (Reason::SpotDealsRefused, "`spot: Refuse`")
        } else if !open.orders.is_empty() && self.rules.orders == OpenOrders::Refuse {
            (Reason::OrdersRefused, "`orders: Refuse`")
        } else {
            return None;
        };
        let message = format!("open, and not to be touched ({what}): {}", open.in_words());
        Some(MarketError { reason, message })
    }

    /// Makes the market know of that start, or of none. True once it does.
    pub fn announce(&mut self, start: Option<Timestamp>) -> bool {
        let known = self.status.announcement.clone();
        let Some(at) = start else {
            if known.is_none() {
                return true;
            }
            if self.may_call() {
                self.actions.push(Action::TakeBack);
            }
            return false;
        };
        // One that it knows of still counts until it has taken in the other.
        let next = known.as_ref().map_or(at, |known| known.at.0.min(at));
        if self.is_near(next) {
            self.keep_what_it_closes();
        }
        if known.is_some_and(|known| known.at.0 == at && known.made) && !self.was_changed(at) {
            return true;
        }
        self.status.announcement = Some(AnnouncementStatus { at: Time(at), made: false });
        if self.may_call() {
            self.actions.push(Action::Announce(at));
        }
        false
    }

    /// Whether the market tells of another start than it was told: somebody else has spoken to it.
    fn was_changed(&self, at: Timestamp) -> bool {
        let Some(Seen { look: Ok(look), .. }) = self.seen else { return false };
        let told = look.commitments.next_maintenance;
        at > self.now && told.is_some_and(|told| told.duration_since(at).abs() > TOLERANCE)
    }

    /// Offers again what was withdrawn. True once nothing is kept any more.
    pub fn offer_again(&mut self) -> bool {
        if !self.status.withdrawn {
            return true;
        }
        if let Some(Seen { kept: Ok(kept), .. }) = self.seen
            && self.may_call()
        {
            if self.rules.restore_orders {
                self.actions.push(Action::Resume(kept.clone()));
            }
            self.actions.push(Action::Forget);
        }
        false
    }

    /// Takes everything back. True once the market is as it was.
    pub fn leave(&mut self) -> bool {
        self.memory.first_clean = None;
        self.memory.drained = None;
        let silent = self.announce(None);
        let offered = self.offer_again();
        silent && offered
    }

    /// Whether the market permits that something stops. What may be ended is ended meanwhile: orders
    /// first, then deals, then tasks.
    pub fn clear(&mut self) -> Verdict {
        let Some(seen) = self.seen else { return Verdict::Draining("looking".to_owned()) };
        let (look, open) = match &seen.look {
            Err(trouble) => return Verdict::Unknown(trouble.clone()),
            Ok(look) => (look, Open::of(&look.commitments, self.now)),
        };
        let kept = match &seen.kept {
            Err(trouble) => return Verdict::Unknown(trouble.clone()),
            Ok(kept) => kept,
        };
        if let Some((_, last)) = open.forward.first() {
            return Verdict::Forward(*last, open.forward_in_words());
        }
        if let Some(refusal) = self.refusal(&open) {
            self.say(Some(false), refusal.reason.clone(), refusal.message.clone());
            return Verdict::Refused(refusal);
        }
        if !open.nothing() {
            let words = self.end(&open, kept);
            let failures = look.commitments.failures.as_slice();
            let failed = failures.first().map(|failure| {
                format!("; {}: {}", cleaned(failure.id.as_str()), cleaned(&failure.detail))
            });
            let message = format!("{words}{}", failed.unwrap_or_default());
            self.say(Some(false), Reason::Draining, message.clone());
            return Verdict::Draining(message);
        }
        if self.memory.drained.as_ref().is_some_and(|(_, answered)| look.began <= *answered) {
            return Verdict::Draining("looking after the drain".to_owned());
        }
        let first = *self.memory.first_clean.get_or_insert(look.complete);
        let apart = look.began.duration_since(first);
        if apart >= self.rules.settle {
            return Verdict::Clear;
        }
        let message = "nothing is open; a second look follows".to_owned();
        self.say(Some(false), Reason::Settling, message.clone());
        Verdict::Draining(message)
    }

    /// Asks for the end of what goes first, once what it takes to bring it back is kept.
    fn end(&mut self, open: &Open, kept: &[Order]) -> String {
        let mut drain =
            Drain { orders: List::default(), deals: List::default(), tasks: List::default() };
        let ids = |ids: Vec<Id>| List::try_from(ids).unwrap_or_default();
        let words = if !open.orders.is_empty() {
            drain.orders = ids(open.orders.iter().map(|order| order.id.clone()).collect());
            "withdrawing"
        } else if !open.spot.is_empty() {
            drain.deals = ids(open.spot.iter().map(|deal| deal.id.clone()).collect());
            "closing"
        } else {
            drain.tasks = ids(open.tasks.iter().map(|id| (*id).clone()).collect());
            "ending"
        };
        let message = format!("{words}; open: {}", open.in_words());
        if !self.may_call() {
            return message;
        }
        let orders = open.orders.iter().map(|order| (*order).clone());
        self.keep(orders.chain(open.closing()).collect(), kept);
        let asked = self.memory.drained.as_ref().is_some_and(|(before, answered)| {
            *before == drain && self.now.duration_since(*answered) < ASK_AGAIN
        });
        if asked {
            return message;
        }
        self.actions.push(Action::Drain(drain));
        message
    }

    /// Whether the market may soon close by itself what is announced to end then.
    pub fn is_near(&self, start: Timestamp) -> bool {
        start.duration_since(self.now) <= KEEP_BEFORE
    }

    /// Keeps what it takes to offer again what the market may close by itself at the start that it knows of.
    fn keep_what_it_closes(&mut self) {
        if let (Some(Seen { kept: Ok(kept), .. }), Some(open)) = (self.seen, self.open())
            && self.may_call()
        {
            self.keep(open.closing(), kept);
        }
    }

    /// Keeps these besides what is kept already.
    fn keep(&mut self, keep: Vec<Order>, kept: &[Order]) {
        // The drain of this plan keeps all of it.
        if self.actions.iter().any(|action| matches!(action, Action::Keep(_))) {
            return;
        }
        let known: BTreeSet<&Id> = kept.iter().map(|order| &order.id).collect();
        if keep.iter().all(|order| known.contains(&order.id)) {
            return;
        }
        let new: BTreeSet<Id> = keep.iter().map(|order| order.id.clone()).collect();
        let old = kept.iter().filter(|order| !new.contains(&order.id)).cloned();
        self.actions.push(Action::Keep(old.chain(keep).collect()));
        self.status.withdrawn = true;
    }

    fn may_call(&self) -> bool {
        self.memory.may_call(self.now)
    }

    /// What a call was answered that failed, where it has not succeeded since.
    pub fn trouble(&self) -> Option<&MarketError> {
        self.memory.trouble.as_ref().map(|(trouble, _)| trouble)
    }

    /// How soon there is something to do again.
    pub fn again(&self) -> SignedDuration {
        self.memory.again(self.now)
    }

    /// How long until the next look of a drain.
    pub fn between_looks(&self) -> SignedDuration {
        let half = SignedDuration::from_secs(self.rules.settle.as_secs() / 3);
        let bounded = half.clamp(SignedDuration::from_secs(1), SignedDuration::from_secs(5));
        match self.memory.first_clean {
            // The second look is due once the first has settled.
            Some(first) => {
                let due = (first + self.rules.settle).duration_since(self.now);
                due.clamp(SignedDuration::from_millis(100), self.rules.settle)
            }
            None => bounded,
        }
    }
}
