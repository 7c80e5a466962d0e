//! People, deploys, controllers, kills and time act on a namespace at random. A judge that knows
//! nothing of the operator predicts the final state of each object.
//!
//! A seed determines the operations, but not their timing. A failure prints the seed; `TORPOR_SEED`
//! repeats it. `TORPOR_OPERATIONS` is the number of operations before each rest, `TORPOR_RESTS` the
//! number of rests. At each rest everything is judged, asleep and awake.

mod deeds;
mod judge;
mod kubelet;
mod people;

use std::{fmt::Write as _, panic::AssertUnwindSafe};

use futures::FutureExt;
use people::World;

/// Returns a number from the environment.
fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// The randomness of one run: `SplitMix64`, whose whole state is the seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns one of these.
    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        let index = self.below(all.len() as u64);
        all[usize::try_from(index).expect("an index")].clone()
    }

    /// Returns true in so many of a hundred cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Does one run and prints its operations, which a failure (or `--nocapture`) shows.
async fn run(seed: u64, operations: u64, rests: u64) {
    let mut world = World::create(seed).await;
    let acted = AssertUnwindSafe(Box::pin(async {
        for _ in 0..rests {
            for _ in 0..operations {
                world.act().await;
            }
            world.rest().await;
        }
    }))
    .catch_unwind()
    .await;
    let mut report = format!("TORPOR_SEED={seed}, and this was done:\n");
    for line in &world.journal {
        let _ = writeln!(report, "  {line}");
    }
    println!("{report}");
    if let Err(failure) = acted {
        std::panic::resume_unwind(failure);
    }
}

#[tokio::test]
async fn whatever_happens_everything_comes_back_as_its_authors_left_it() {
    let seed = number("TORPOR_SEED").unwrap_or(1);
    let operations = number("TORPOR_OPERATIONS").unwrap_or(50);
    run(seed, operations, number("TORPOR_RESTS").unwrap_or(1)).await;
}

/// For `make break`: several seeds in parallel, each for some minutes.
#[tokio::test]
#[ignore = "takes minutes"]
async fn whatever_happens_for_long_everything_comes_back_as_its_authors_left_it() {
    let clock = || jiff::Timestamp::now().as_second().unsigned_abs();
    let seed = number("TORPOR_SEED").unwrap_or_else(clock);
    println!("TORPOR_SEED={seed}");
    let operations = number("TORPOR_OPERATIONS").unwrap_or(100);
    let rests = number("TORPOR_RESTS").unwrap_or(4);
    futures::future::join_all((0..4).map(|more| run(seed + more, operations, rests))).await;
}
