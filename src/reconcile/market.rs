//! Looks at an object's market, and does what a plan says of it: through the Deals API, wherever that
//! is served.

use jiff::Timestamp;

use super::context::Context;
use crate::api::deals::{DealsSource, DealsStatus, SourceStatus};
use crate::api::reason::Reason;
use crate::apiserver::request::{self, NotPermitted};
use crate::deals::clearance::{Action, MarketError, Memory, Rules, Seen};
use crate::deals::client::{self, Server};
use crate::deals::hosted::{self, Hosting};
use crate::deals::payloads::{self, Kept, Payloads};
use crate::hold::record::Holder;

/// An object's market in one pass.
pub struct Market<'a> {
    broker: Option<Broker<'a>>,
    /// What was seen of it; none before it was looked at.
    pub observed: Option<Seen>,
    kept: Kept,
}

impl<'a> Market<'a> {
    /// The market that the status names, if it does; with the rules as the spec has them now.
    pub fn new(
        context: &'a Context,
        holder: &'a Holder,
        status: Option<&'a DealsStatus>,
        rules: Option<&'a Rules>,
    ) -> Self {
        let source = status.and_then(|deals| deals.source.as_ref());
        let spec = rules.map(|rules| &rules.source);
        let broker = source.map(|source| Broker {
            context,
            holder,
            source,
            spec: spec.filter(|spec| hosted::source(holder, spec) == *source),
        });
        Self { broker, observed: None, kept: Kept::default() }
    }

    /// Looks at it. False where there is nothing to look at.
    pub async fn observe(&mut self, memory: &mut Memory) -> bool {
        let Some(broker) = &self.broker else { return false };
        let (seen, kept) = broker.observe(memory).await;
        (self.observed, self.kept) = (Some(seen), kept);
        true
    }

    /// Tells it these, in this order, up to the first that fails.
    pub async fn notify(&self, actions: &[Action], memory: &mut Memory) {
        let Some(broker) = &self.broker else { return };
        broker.act(actions, &self.kept, memory).await;
    }
}

/// Speaks to a market.
struct Broker<'a> {
    context: &'a Context,
    holder: &'a Holder,
    /// Where it is served, as the status has it.
    source: &'a SourceStatus,
    /// What the spec says of that, where it still says the same.
    spec: Option<&'a DealsSource>,
}

impl From<client::Error> for MarketError {
    fn from(error: client::Error) -> Self {
        Self { reason: error.reason(), message: error.to_string() }
    }
}

impl From<hosted::Error> for MarketError {
    fn from(error: hosted::Error) -> Self {
        Self { reason: error.reason(), message: error.to_string() }
    }
}

impl From<payloads::Error> for MarketError {
    fn from(error: payloads::Error) -> Self {
        Self { reason: error.reason(), message: error.to_string() }
    }
}

fn not_leading() -> MarketError {
    hosted::Error::from(request::Error::from(NotPermitted)).into()
}

impl Broker<'_> {
    /// One look at the market, and at what was withdrawn from it. What does not let itself be seen is
    /// part of what was seen.
    async fn observe(&self, memory: &mut Memory) -> (Seen, Kept) {
        let kept = self.payloads().read(self.holder).await;
        let look = match self.bridge_is_ready(memory).await {
            Ok(()) => self.look(memory).await,
            Err(trouble) => Err(trouble),
        };
        match kept {
            Ok(kept) => (Seen { look, kept: Ok(kept.orders.clone()) }, kept),
            Err(error) => (Seen { look, kept: Err(error.into()) }, Kept::default()),
        }
    }

    async fn look(&self, memory: &mut Memory) -> Result<client::Look, MarketError> {
        let looked = self.context.deals.look(&self.server()).await;
        // The bridge is given the keys before the next look.
        memory.unknown_key = looked.as_ref().is_err_and(client::Error::unknown_key);
        Ok(looked?)
    }

    /// Makes the bridge that the operator is to run as it is to be.
    async fn bridge_is_ready(&self, memory: &mut Memory) -> Result<(), MarketError> {
        let Some(source) = self.spec.filter(|_| self.source.bridge.is_some()) else {
            return Ok(());
        };
        let hosted = self.hosting()?.ensure(self.holder, source, memory.unknown_key).await?;
        if hosted.ready {
            return Ok(());
        }
        Err(MarketError { reason: Reason::BridgeNotReady, message: hosted.message })
    }

    fn hosting(&self) -> Result<Hosting<'_>, MarketError> {
        let account = self.context.account.as_ref().ok_or(client::Error::NoServiceAccount)?;
        Ok(Hosting {
            client: self.context.client.clone(),
            image: &self.context.image,
            account,
            epoch: (self.context.epoch)().ok_or_else(not_leading)?,
        })
    }

    fn payloads(&self) -> Payloads {
        Payloads { client: self.context.client.clone() }
    }

    fn server(&self) -> Server<'_> {
        Server { holder: self.holder, source: self.source }
    }

    /// Does these, in this order, up to the first that fails.
    async fn act(&self, actions: &[Action], kept: &Kept, memory: &mut Memory) {
        for action in actions {
            match self.one(action, kept, memory).await {
                Ok(()) => memory.succeeded(),
                Err(trouble) => {
                    tracing::warn!(
                        holder = %self.holder, reason = %trouble.reason, message = trouble.message,
                        "a market was not told"
                    );
                    memory.failed(trouble, Timestamp::now());
                    return;
                }
            }
        }
    }

    async fn one(
        &self,
        action: &Action,
        kept: &Kept,
        memory: &mut Memory,
    ) -> Result<(), MarketError> {
        let _turn = match action {
            Action::Resume(_) => Some(self.context.turn(&self.holder.namespace).await),
            _ => None,
        };
        let epoch = (self.context.epoch)().ok_or_else(not_leading)?;
        let (deals, server) = (&self.context.deals, self.server());
        match action {
            Action::Announce(at) => {
                deals.announce(&server, epoch, Some(*at)).await?;
                memory.told = Some(Some(*at));
            }
            Action::TakeBack => {
                deals.announce(&server, epoch, None).await?;
                memory.told = Some(None);
            }
            Action::Keep(orders) => self.payloads().keep(self.holder, orders).await?,
            Action::Drain(drain) => {
                deals.drain(&server, epoch, drain).await?;
                memory.drained = Some((drain.clone(), Timestamp::now()));
            }
            Action::Resume(orders) => deals.resume(&server, epoch, orders.clone()).await?,
            Action::Forget => self.payloads().forget(self.holder, kept).await?,
            Action::RemoveBridge => {
                memory.bridge_gone = !self.hosting()?.remove(self.holder).await?;
            }
        }
        Ok(())
    }
}
