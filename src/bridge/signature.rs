//! Signatures of payloads. The operator keeps `restore` in a ConfigMap, and more people may change ConfigMaps than may
//! trade on the market. So a bridge signs each payload, and offers again only what it has signed.
//!
//! A signed payload is `hmac-sha256:SIGNATURE:PAYLOAD`. The signature (RFC 2104) covers the audience of the bridge and
//! the order's id too: a payload counts for this order of this object only.

use std::fmt;
use std::num::NonZeroU32;

use ring::{hmac, pbkdf2};

use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::{Commitments, Deal, Id, LONGEST_RESTORE, List, Order, Restore, cleaned};

/// What a signed payload begins with.
const PREFIX: &str = "hmac-sha256:";
/// Hexadecimal digits of a signature.
const DIGITS: usize = 64;
/// Separates this use of a secret from any other.
const SALT: &[u8] = b"torpor.dev bridge restore";
/// A database's URL may hold a weak password. So many rounds of PBKDF2 (RFC 8018) make it slow to guess from
/// signatures, and delay the start of the bridge by a tenth of a second.
const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
/// Most characters of an id in a message, so that its remedy is not cut off.
const SHOWN: usize = 64;

/// The secret of a market.
pub(super) struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Signs payloads, and verifies them.
#[derive(Debug)]
pub(super) struct Signer {
    /// None for a bridge without a secret: its payloads have no signature.
    key: Option<hmac::Key>,
    audience: String,
}

impl Signer {
    pub(super) fn new(secret: Option<&Secret>, audience: &str) -> Self {
        let key = secret.map(|Secret(secret)| {
            let mut key = [0; 32];
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, SALT, secret, &mut key);
            hmac::Key::new(hmac::HMAC_SHA256, &key)
        });
        Self { key, audience: audience.to_owned() }
    }

    /// Returns the commitments with signed payloads.
    pub(super) fn signed(&self, mut observed: Commitments) -> Result<Commitments, Problem> {
        let order = |order: Order| {
            let restore = self.sign(&order.id, order.restore)?;
            Ok(Order { restore, ..order })
        };
        let deal = |deal: Deal| {
            let restore = deal.restore.map(|restore| self.sign(&deal.id, restore)).transpose()?;
            Ok(Deal { restore, ..deal })
        };
        observed.orders = mapped(observed.orders, order)?;
        observed.deals = mapped(observed.deals, deal)?;
        Ok(observed)
    }

    /// Returns the orders with the payloads that were signed. Fails if one of them was not signed for its order by this
    /// bridge.
    pub(super) fn verified(&self, orders: Vec<Order>) -> Result<Vec<Order>, Problem> {
        orders.into_iter().map(|order| self.verify(order)).collect()
    }

    fn sign(&self, id: &Id, restore: Restore) -> Result<Restore, Problem> {
        let Some(key) = &self.key else { return Ok(restore) };
        let signature = hmac::sign(key, &self.message(id, restore.as_str()));
        let nibbles = signature.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let digits: String =
            nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)).collect();
        Restore::try_from(format!("{PREFIX}{digits}:{}", restore.as_str())).map_err(|_| {
            let most = LONGEST_RESTORE - PREFIX.len() - DIGITS - 1;
            ProblemType::MarketInvalid.because(format!(
                "`restore` of order {} is longer than {most} bytes: it leaves no room for a signature",
                shown(id)
            ))
        })
    }

    fn verify(&self, order: Order) -> Result<Order, Problem> {
        let signed = signature(order.restore.as_str());
        let payload = match (&self.key, signed) {
            (None, None) => return Ok(order),
            (Some(key), Some((signature, payload)))
                if hmac::verify(key, &self.message(&order.id, payload), &signature).is_ok() =>
            {
                payload
            }
            (None, Some(_)) => {
                return Err(ProblemType::InvalidRestore.because(format!(
                    "`restore` of order {} is signed, and this bridge has no Secret to verify it with: give the \
                     bridge the Secret that it had; or offer the orders by hand and delete the ConfigMap with the \
                     payloads",
                    shown(&order.id)
                )));
            }
            (Some(_), _) => {
                return Err(ProblemType::InvalidRestore.because(format!(
                    "`restore` of order {} is not signed with the Secret of this bridge: somebody has changed the \
                     payload, or the Secret has changed since. Nothing is offered. Put back what was there and \
                     restart the bridge; or offer the orders by hand and delete the ConfigMap with the payloads",
                    shown(&order.id)
                )));
            }
        };
        // A part of a payload is within its bounds.
        let restore = Restore::try_from(payload.to_owned())
            .map_err(|error| ProblemType::InvalidRestore.because(error.to_string()))?;
        Ok(Order { restore, ..order })
    }

    /// Returns the signed text. NUL is in none of its parts, so that no two orders have the same text.
    fn message(&self, id: &Id, payload: &str) -> Vec<u8> {
        [&self.audience, "\0", id.as_str(), "\0", payload].concat().into_bytes()
    }
}

/// Returns signature and payload of a signed payload.
fn signature(restore: &str) -> Option<(Vec<u8>, &str)> {
    let (digits, payload) = restore.strip_prefix(PREFIX)?.split_at_checked(DIGITS)?;
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = digits.as_bytes().iter().map(digit).collect::<Option<_>>()?;
    let signature = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    Some((signature, payload.strip_prefix(':')?))
}

fn mapped<T>(list: List<T>, map: impl Fn(T) -> Result<T, Problem>) -> Result<List<T>, Problem> {
    let entries = list.into_vec().into_iter().map(map).collect::<Result<Vec<T>, Problem>>()?;
    // The list is as long as before.
    List::try_from(entries).map_err(|error| ProblemType::MarketInvalid.because(error.to_string()))
}

fn shown(id: &Id) -> String {
    cleaned(id.as_str()).chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deals::types::{Complete, LONGEST_ID, Term};
    use jiff::Timestamp;

    fn signer(secret: &str, audience: &str) -> Signer {
        Signer::new(Some(&Secret::new(secret)), audience)
    }

    fn order(id: &str, restore: &str) -> Order {
        let id = Id::try_from(id.to_owned()).unwrap();
        Order { id, restore: Restore::try_from(restore.to_owned()).unwrap() }
    }

    fn observed(restore: &str) -> Commitments {
        let Order { id, restore } = order("a", restore);
        let deal = |restore| Deal { id: id.clone(), term: Term::Open, counterparty: None, restore };
        Commitments {
            as_of: Timestamp::UNIX_EPOCH,
            complete: Complete,
            deals: List::try_from(vec![deal(Some(restore.clone())), deal(None)]).unwrap(),
            orders: List::try_from(vec![Order { id: id.clone(), restore }]).unwrap(),
            tasks: List::default(),
            next_maintenance: None,
            failures: List::default(),
        }
    }

    fn signed(signer: &Signer, restore: &str) -> String {
        let observed = signer.signed(observed(restore)).unwrap();
        observed.orders.as_slice()[0].restore.as_str().to_owned()
    }

    #[test]
    fn what_a_bridge_has_given_it_takes_back_unchanged() {
        let ours = signer("secret", "audience");
        for payload in ["", "{\"plan\": {}}", "hmac-sha256:x:y", "ä\n"] {
            let given = ours.signed(observed(payload)).unwrap();
            assert_eq!(given, ours.signed(observed(payload)).unwrap(), "nobody writes it anew");
            let [of_order] = given.orders.as_slice() else { panic!("{given:?}") };
            let [of_deal, without] = given.deals.as_slice() else { panic!("{given:?}") };
            assert_eq!(of_deal.restore.as_ref(), Some(&of_order.restore));
            assert_eq!(without.restore, None);
            assert!(of_order.restore.as_str().ends_with(payload), "a person can read it");
            let taken = ours.verified(vec![of_order.clone()]).unwrap();
            assert_eq!(taken, [order("a", payload)]);
        }
    }

    #[test]
    fn what_a_bridge_has_not_given_it_refuses() {
        let ours = signer("secret", "audience");
        let good = signed(&ours, "1");
        assert_eq!(good.len(), PREFIX.len() + DIGITS + 2);
        let refused = |signer: &Signer, id: &str, restore: &str| {
            let all = vec![order(id, restore), order("b", &signed(signer, "2"))];
            let problem = signer.verified(all).unwrap_err();
            assert_eq!(problem.kind, ProblemType::InvalidRestore, "{restore}");
            assert!(problem.detail.contains(&format!("order {id} ")), "{problem}");
            assert!(
                problem.detail.ends_with("delete the ConfigMap with the payloads"),
                "{problem}"
            );
        };
        let first = &good[PREFIX.len()..=PREFIX.len()];
        let other = if first == "0" { "1" } else { "0" };
        for forged in [
            "1".to_owned(),
            String::new(),
            good.replace(":1", ":2"),
            format!("{PREFIX}{other}{}", &good[PREFIX.len() + 1..]),
            good.trim_end_matches('1').to_owned(),
            format!("{good}1"),
            good[..good.len() - 2].to_owned(),
            PREFIX.to_owned(),
            format!("{PREFIX}{}", "ä".repeat(40)),
        ] {
            assert_ne!(forged, good);
            refused(&ours, "a", &forged);
        }
        refused(&ours, "another", &good);
        refused(&signer("secret", "another"), "a", &good);
        refused(&signer("another", "audience"), "a", &good);
    }

    #[test]
    fn without_a_secret_nothing_is_signed_and_nothing_signed_is_believed() {
        let none = Signer::new(None, "audience");
        assert_eq!(signed(&none, "1"), "1");
        assert_eq!(none.verified(vec![order("a", "1")]).unwrap(), [order("a", "1")]);
        let given = signed(&signer("secret", "audience"), "1");
        let problem = none.verified(vec![order("a", &given)]).unwrap_err();
        assert!(problem.detail.contains("the Secret that it had"), "{problem}");
    }

    #[test]
    fn a_payload_without_room_for_its_signature_is_a_problem_and_the_remedy_is_never_cut_off() {
        let ours = signer("secret", "audience");
        let most = LONGEST_RESTORE - PREFIX.len() - DIGITS - 1;
        assert_eq!(signed(&ours, &"x".repeat(most)).len(), LONGEST_RESTORE);
        let problem = ours.signed(observed(&"x".repeat(most + 1))).unwrap_err();
        assert_eq!(problem.kind, ProblemType::MarketInvalid);
        let long = order(&"i".repeat(LONGEST_ID), "1");
        let problem = ours.verified(vec![long]).unwrap_err();
        assert!(problem.detail.ends_with("delete the ConfigMap with the payloads"), "{problem}");
    }
}
