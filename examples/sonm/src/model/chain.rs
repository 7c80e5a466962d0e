//! The market's contract: orders, deals, and who may do what to them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::journal::{By, Entry, What};
use super::{Address, Model, Refused, Terms};

/// What everybody sees of the market.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Chain {
    pub orders: BTreeMap<u64, Order>,
    pub deals: BTreeMap<u64, Deal>,
    /// The last id that was given to an order or deal.
    last_id: u64,
}

/// A sell order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub id: u64,
    /// The worker.
    pub author: Address,
    /// The plan that it was placed for.
    pub plan: String,
    /// Seconds; 0 is Spot.
    pub duration: u64,
    /// On the market: neither cancelled nor accepted.
    pub active: bool,
    pub deal: Option<u64>,
    pub terms: Terms,
}

/// A deal. Which kind it is, its own duration tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    pub id: u64,
    /// The worker.
    pub supplier: Address,
    pub consumer: Address,
    /// The worker's master.
    pub master: Address,
    pub ask: u64,
    pub bid: u64,
    /// Seconds; 0 is Spot.
    pub duration: u64,
    /// Per second, a decimal number.
    pub price: String,
    pub start: Timestamp,
    /// What `start + duration` was at first, then when it was closed; changes of the duration don't move it.
    pub end: Option<Timestamp>,
    pub closed: bool,
}

impl Deal {
    pub fn is_spot(&self) -> bool {
        self.duration == 0
    }

    /// Until then only the consumer may close it.
    pub fn promised_until(&self) -> Timestamp {
        let seconds = i64::try_from(self.duration).unwrap_or(i64::MAX);
        self.start.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    }

    /// Open, and of a term that has not run out: `block.timestamp <= startTime + duration`.
    pub fn is_promised(&self, now: Timestamp) -> bool {
        !self.closed && !self.is_spot() && block_time(now) <= self.promised_until()
    }
}

/// The time of a block that is made now: whole seconds.
pub fn block_time(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

impl Chain {
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Model {
    /// Offers a plan on the market for so many seconds (0: Spot).
    pub fn place_order(
        &mut self,
        now: Timestamp,
        author: &Address,
        plan: &str,
        terms: &Terms,
        duration: u64,
    ) -> u64 {
        let id = self.chain.next_id();
        let order = Order {
            id,
            author: author.clone(),
            plan: plan.to_owned(),
            duration,
            active: true,
            deal: None,
            terms: terms.clone(),
        };
        self.chain.orders.insert(id, order);
        self.journal.write(
            Entry::new(now, What::OrderPlaced)
                .worker(author)
                .plan(plan)
                .order(id)
                .by(By::Worker)
                .detail(format!("for {duration} s")),
        );
        id
    }

    /// Takes an order from the market.
    pub fn cancel_order(&mut self, now: Timestamp, id: u64, by: By) -> Result<(), String> {
        let Some(order) = self.chain.orders.get_mut(&id) else {
            return Err(format!("failed to cancel order {id}: order does not exist"));
        };
        if order.deal.is_some() {
            return Err(format!("failed to cancel order {id}: order already have deal"));
        }
        if order.active {
            order.active = false;
            let entry = Entry::new(now, What::OrderCancelled).worker(&order.author);
            self.journal.write(entry.plan(&order.plan).order(id).by(by));
        }
        Ok(())
    }

    /// A consumer's bid of so many seconds (0: Spot) meets a sell order: a deal. The worker doesn't
    /// know of it yet.
    pub fn accept_order(
        &mut self,
        now: Timestamp,
        id: u64,
        duration: u64,
        consumer: &Address,
    ) -> Result<u64, Refused> {
        let order = self.chain.orders.get(&id).ok_or_else(|| Refused::missing("order", id))?;
        if !order.active {
            return Err(Refused::Conflict(format!("order {id} is not on the market")));
        }
        if duration > order.duration {
            let offered = order.duration;
            return Err(Refused::Conflict(format!("order {id} is for {offered} s at most")));
        }
        let worker = self.worker(&order.author)?;
        let (supplier, master) = (order.author.clone(), worker.master.clone());
        let (price, plan) = (order.terms.price.clone(), order.plan.clone());
        let (bid, deal) = (self.chain.next_id(), self.chain.next_id());
        let start = block_time(now);
        let mut struck = Deal {
            id: deal,
            supplier: supplier.clone(),
            consumer: consumer.clone(),
            master,
            ask: id,
            bid,
            duration,
            price,
            start,
            end: None,
            closed: false,
        };
        struck.end = (duration > 0).then(|| struck.promised_until());
        self.index.record(now, &struck);
        self.chain.deals.insert(deal, struck);
        if let Some(order) = self.chain.orders.get_mut(&id) {
            order.active = false;
            order.deal = Some(deal);
        }
        self.journal.write(
            Entry::new(now, What::OrderAccepted)
                .worker(&supplier)
                .plan(&plan)
                .order(id)
                .deal(deal)
                .by(By::Consumer)
                .detail(format!("for {duration} s")),
        );
        Ok(deal)
    }

    /// Closes a deal: the supplier, consumer and master may, and until its term has run out only
    /// the consumer. `by` is who asked for it, which for `caller` the consumer may still be a client.
    pub fn close_deal(
        &mut self,
        now: Timestamp,
        id: u64,
        caller: &Address,
        by: By,
    ) -> Result<(), String> {
        let Some(deal) = self.chain.deals.get_mut(&id) else {
            return Err(format!("failed to close deal {id}: deal does not exist"));
        };
        let entry = |what| Entry::new(now, what).worker(&deal.supplier).deal(id).by(by);
        let refusal = if deal.closed {
            Some("deal is not accepted")
        } else if *caller != deal.supplier && *caller != deal.consumer && *caller != deal.master {
            Some("caller is not a party of the deal")
        } else if deal.is_promised(now) && *caller != deal.consumer {
            Some("deal is forward")
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.journal.write(entry(What::DealCloseRefused).detail(refusal));
            return Err(format!("failed to close deal {id}: {refusal}"));
        }
        let early = deal.is_promised(now);
        let broken = (early && by != By::Consumer)
            .then(|| format!("Forward deal {id} was closed before {}", deal.promised_until()));
        let kind = match (deal.is_spot(), early) {
            (true, _) => "Spot",
            (false, true) => "Forward, early",
            (false, false) => "Forward, run out",
        };
        let entry = entry(What::DealClosed).detail(kind).broken(broken);
        deal.closed = true;
        deal.end = Some(block_time(now));
        self.index.record(now, deal);
        self.journal.write(entry);
        Ok(())
    }

    /// A change request that both sides accepted: the deal is for so many seconds from its start.
    /// Its `endTime` stays as it was.
    pub fn change_duration(
        &mut self,
        now: Timestamp,
        id: u64,
        seconds: u64,
    ) -> Result<(), Refused> {
        let deal = self.chain.deals.get_mut(&id).ok_or_else(|| Refused::missing("deal", id))?;
        if deal.closed || deal.is_spot() || seconds == 0 {
            let why = "only the duration of an open Forward deal changes, and not to 0";
            return Err(Refused::Conflict(why.to_owned()));
        }
        deal.duration = seconds;
        self.index.record(now, deal);
        self.journal.write(
            Entry::new(now, What::DealDurationChanged)
                .worker(&deal.supplier)
                .deal(id)
                .by(By::Consumer)
                .detail(format!("to {seconds} s")),
        );
        Ok(())
    }
}
