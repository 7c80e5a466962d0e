//! Observes an object's market through the Deals API, and makes the calls of a plan.

use jiff::Timestamp;

use super::context::Context;
use crate::api::deals::{DealsSource, DealsStatus, SourceStatus};
use crate::api::reason::Reason;
use crate::apiserver::request::{self, NotPermitted};
use crate::deals::client::{self, Server};
use crate::deals::hosted::{self, Hosting};
use crate::deals::market_state::{
    Action, MarketError, MarketObservation, MarketState, Notified, Rules,
};
use crate::deals::payloads::{self, Kept, Payloads};
use crate::hold::record::Holder;

/// An object's market in one iteration.
pub struct Market<'a> {
    broker: Option<Broker<'a>>,
    /// The observation of this iteration, if there was one.
    pub observed: Option<MarketObservation>,
    kept: Kept,
}

impl<'a> Market<'a> {
    /// Creates the market from the source in the status and from the rules of the spec.
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

    /// Observes the market. Returns whether the object has a market.
    pub async fn observe(&mut self, state: &mut MarketState) -> bool {
        let Some(broker) = &self.broker else { return false };
        let (observed, kept) = broker.observe(state).await;
        (self.observed, self.kept) = (Some(observed), kept);
        true
    }

    /// Makes these calls in order, up to the first failure.
    pub async fn notify(&self, actions: &[Action], state: &mut MarketState) {
        let Some(broker) = &self.broker else { return };
        broker.act(actions, &self.kept, state).await;
    }
}

/// The connection to a market.
struct Broker<'a> {
    context: &'a Context,
    holder: &'a Holder,
    /// The server of the Deals API, from the status.
    source: &'a SourceStatus,
    /// The source in the spec, if it still names the same server.
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
    /// Reads the open deals, orders and tasks from the market, and the withdrawn orders from their ConfigMap. An
    /// error is part of the observation.
    async fn observe(&self, state: &mut MarketState) -> (MarketObservation, Kept) {
        let kept = self.payloads().read(self.holder).await;
        let commitments = match self.bridge_is_ready(state).await {
            Ok(()) => self.commitments(state).await,
            Err(error) => Err(error),
        };
        let (withdrawn, kept) = match kept {
            Ok(kept) => (Ok(kept.orders.clone()), kept),
            Err(error) => (Err(error.into()), Kept::default()),
        };
        (MarketObservation { commitments, withdrawn }, kept)
    }

    async fn commitments(
        &self,
        state: &mut MarketState,
    ) -> Result<client::Observation, MarketError> {
        let observation = self.context.deals.observe(&self.server()).await;
        // The next iteration gives the cluster's new keys to the bridge.
        state.unknown_key = observation.as_ref().is_err_and(client::Error::unknown_key);
        Ok(observation?)
    }

    /// Applies the objects of a bridge that the operator runs, and fails until the bridge is ready.
    async fn bridge_is_ready(&self, state: &mut MarketState) -> Result<(), MarketError> {
        let Some(source) = self.spec.filter(|_| self.source.bridge.is_some()) else {
            return Ok(());
        };
        let hosted = self.hosting()?.ensure(self.holder, source, state.unknown_key).await?;
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
            lease: &self.context.lease,
            keys: &self.context.keys,
        })
    }

    fn payloads(&self) -> Payloads {
        Payloads { client: self.context.client.clone() }
    }

    fn server(&self) -> Server<'_> {
        Server { holder: self.holder, source: self.source }
    }

    /// Makes these calls in order, up to the first failure.
    async fn act(&self, actions: &[Action], kept: &Kept, state: &mut MarketState) {
        for action in actions {
            match self.one(action, kept, state).await {
                Ok(()) => state.succeeded(),
                Err(error) => {
                    tracing::warn!(
                        holder = %self.holder, reason = %error.reason, message = error.message,
                        "a call about a market failed"
                    );
                    state.failed(error, Timestamp::now());
                    return;
                }
            }
        }
    }

    async fn one(
        &self,
        action: &Action,
        kept: &Kept,
        state: &mut MarketState,
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
                state.notified = Some(Notified::Start(*at));
            }
            Action::WithdrawAnnouncement => {
                deals.announce(&server, epoch, None).await?;
                state.notified = Some(Notified::Withdrawal);
            }
            Action::SavePayloads(orders) => self.payloads().save(self.holder, orders).await?,
            Action::Drain(drain) => {
                deals.drain(&server, epoch, drain).await?;
                state.drained = Some((drain.clone(), Timestamp::now()));
            }
            Action::Resume(orders) => {
                let resumed = deals.resume(&server, epoch, orders.clone()).await;
                resumed.map_err(|error| payloads::refused(self.holder, &error))?;
            }
            Action::DeletePayloads => self.payloads().delete(self.holder, kept).await?,
            Action::RemoveBridge => {
                state.bridge_gone = !self.hosting()?.remove(self.holder).await?;
            }
        }
        Ok(())
    }
}
