//! Every reason of a condition or Event. `docs/conditions.md` is written from this list.

use std::fmt;

/// Compares with a reason as the API shows it.
impl PartialEq<&str> for Reason {
    fn eq(&self, name: &&str) -> bool {
        self.as_str() == *name
    }
}

/// Declares [`Reason`], its names, and the tables of `docs/conditions.md`: one section a table, one
/// line a reason with its meaning and its remedy.
macro_rules! reasons {
    ($($section:literal: $introduction:literal {
        $($name:ident: $meaning:literal, $remedy:literal;)*
    })*) => {
        /// Why a condition has its status, or why an Event was published. Each has a meaning and a
        /// remedy, which `docs/conditions.md` shows.
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason {
            $($(#[doc = $meaning] $name,)*)*
            /// The kubelet's own reason why a container of a Job does not start.
            Container(String),
        }

        impl Reason {
            /// Returns the reason as the API shows it: one word in `CamelCase`.
            pub fn as_str(&self) -> &str {
                match self {
                    $($(Self::$name => stringify!($name),)*)*
                    Self::Container(name) => name,
                }
            }

            /// Returns the reason of that name; none where no reason has it.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($(stringify!($name) => Some(Self::$name),)*)*
                    _ => None,
                }
            }
        }

        /// The sections of `docs/conditions.md`.
        pub const SECTIONS: &[Section] = &[
            $(Section {
                heading: $section,
                introduction: $introduction,
                rows: &[$(Row { name: stringify!($name), meaning: $meaning, remedy: $remedy },)*],
            },)*
        ];
    };
}

/// One table of `docs/conditions.md`.
#[derive(Debug)]
pub struct Section {
    /// Its heading.
    pub heading: &'static str,
    /// The text above the table; may be empty.
    pub introduction: &'static str,
    /// The reasons.
    pub rows: &'static [Row],
}

/// One reason in `docs/conditions.md`.
#[derive(Debug)]
pub struct Row {
    /// The reason.
    pub name: &'static str,
    /// The state that it stands for, and its cause.
    pub meaning: &'static str,
    /// The remedy.
    pub remedy: &'static str,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

reasons! {
    "Reasons in progress": "" {
        Awake: "The phase: the object is awake, as its spec asks.",
            "Nothing.";
        Hibernated: "The phase: the object is hibernated, as its spec asks.",
            "Nothing.";
        Hibernating: "The phase, as the reason of `Hibernated=False`: workloads go down.",
            "Nothing; the message names the step.";
        Waking: "The phase, as the reason of `Hibernated=False`: Torpor restores the workloads.",
            "Nothing; the message names the step.";
        Beginning: "Torpor records the window and sets the finalizer.",
            "Nothing.";
        Writing: "Torpor takes or releases holds.",
            "Nothing.";
        Waiting: "Torpor waits for the objects in the message: pods that end, replicas that become ready, a Job.",
            "Nothing before `progressDeadline`. Then look at those objects.";
        Settling: "No pod is left; a second list, 5 s after the first, has to confirm it. Of `DealsClear`: no deal, order or task is open; a second observation, `deals.settle` after the first, has to confirm it.",
            "Nothing.";
        Preflight: "With `dryRun`: the preflight Job runs.",
            "Nothing.";
        DryRun: "`spec.dryRun` is set: Torpor changes nothing.",
            "Read `status.plan`. Remove `dryRun` when the plan is what you want.";
        RequestFailed: "A request to the API server failed; the message names it. Torpor tries again within a minute.",
            "If it stays, a right is often missing: compare with `templates/rbac.yaml` of the chart. Otherwise look at the API server.";
        ReconcileFailed: "A reconcile failed; the message says why. Torpor tries again within a minute.",
            "If it stays, a right is often missing: compare with `templates/rbac.yaml` of the chart. Otherwise look at the API server.";
    }

    "Reasons that need a person": "An awake object may have them too, and be `Ready`: they say what would prevent the next hibernation." {
        SpecInvalid: "The spec was admitted but is not valid; the message names the field.",
            "Write what the message says.";
        ScheduleInvalid: "A cron expression does not parse or never fires, or the time zone is unknown.",
            "Correct the schedule.";
        UnknownKind: "`workloads[].kind` is not a kind that Torpor can hold: neither a built-in one, nor one of the installer's table.",
            "Use one of the kinds in the message, or have the kind added to the chart's value `kinds` ([kinds.md](kinds.md)).";
        KindUnavailable: "A kind of `workloads` is in the installer's table of kinds, and the cluster does not serve it, or the operator may not list it. Everything else goes to sleep, but nothing is truncated. Or the objects of a kind that scales workloads cannot be listed: nothing is truncated meanwhile. Or objects of a kind are held that the operator cannot restore: the kind is not in its table any more, or it may not list it.",
            "Install the project that has the kind, remove the entry, or grant the rights. Put the kind back into the chart's value `kinds`, or restore the objects by `torpor release`. [kinds.md](kinds.md) has more.";
        ScaledBy: "A `ScaledObject` scales a workload that is to be stopped, and is not to be stopped itself: it would scale the workload up again. The workload goes to sleep, but nothing is truncated.",
            "Name the ScaledObject in the place of the workload.";
        PausedOtherwise: "A `ScaledObject` is paused already, by another annotation than the one that Torpor writes: the wake would not scale its target up again.",
            "Name the target in the place of the ScaledObject.";
        Malformed: "The object does not parse: the CRD and the operator are of different versions.",
            "Install the CRDs of the operator's version: `kubectl apply --server-side -f crds/`.";
        ConfigMapNotFound: "A ConfigMap of `configMaps` does not exist.",
            "Create the ConfigMap, or correct its name. Torpor continues by itself.";
        WorkloadNotFound: "A name in `workloads` matches nothing, and `database` is set. Everything else goes to sleep, but nothing is truncated: the workload that was meant may write.",
            "Correct the name, or remove the entry.";
        PossibleWriter: "A pod or workload of the namespace may still write to the database, or a session of such a pod is connected to it, so that nothing is truncated. The message names it and its owner.",
            "Stop the owner, delete the pod, list the workload in `except`, or select the pod by `database.truncate.ignorePods` if it does not write. `database.truncate.sessions` says which sessions count.";
        ConfigMapImmutable: "The ConfigMap is immutable.",
            "Create a mutable ConfigMap, and let the workloads use it.";
        ConfigMapKeyBinary: "The key is in `binaryData`.",
            "Override a key of `data`.";
        HoldConflict: "Another object holds the key at another value.",
            "Remove the key from one of the two objects.";
        ControlledBy: "Another controller owns the workload and would undo the hold.",
            "Name the owner instead.";
        CannotRestart: "`action: Restart` does not work: the workload is paused, has the update strategy `OnDelete`, or has a partitioned rolling update.",
            "Resume the rollout, or use `action: Stop`.";
        HoldTooLarge: "The record of the originals would exceed 64 KiB, the annotations of the object leave no room for it, or 64 other objects hold the workload.",
            "Override fewer or smaller keys, remove the annotation in the message, or let one object hold the workload for several.";
        OriginalUnknown: "Both the annotation and the status have lost the original.",
            "Set the field to its value when awake. If that is the held value, set another value now, and the right one after the wake.";
        WriteRejected: "The API server rejected a write or the truncation Job, or did not carry it out: a right is missing, an admission policy denies it, a webhook does not answer, or `database.truncate.pod` is not valid. The message has the API server's words. Or an admission webhook or policy changes Torpor's write; the message names the field and both values, and the object is as before the write.",
            "Grant the right, change or mend the webhook or policy, or correct the setting. Torpor tries again after 5 s, then ever more rarely, at least once a minute.";
        Contested: "Other field managers have changed held fields three times or more in this hibernation or maintenance. Torpor reverts each change at once, at most six times a minute for each object, and truncates nothing meanwhile. The contest is over when nobody has changed the object for three of the average intervals, at least 10 minutes and at most 6 hours.",
            "Write the lines in the message where it says. [gitops.md](gitops.md) has them for Flux and Argo CD.";
        ProgressDeadlineExceeded: "A step takes longer than `progressDeadline`.",
            "Look at the objects in the message: a pod that ignores SIGTERM, a full node. Torpor truncates nothing until the step is done.";
        NotReady: "The wake is over, or continues, but the workloads in the message are not ready, or others hold them. Withdrawn orders wait for them.",
            "Look at those workloads; they may have been ill before. A workload with `action: Restart` that was paused, or got `OnDelete` or a partition meanwhile, still runs in hibernate mode: let it roll out.";
        PreflightRefused: "The preflight found an obstacle to the truncation.",
            "The message names the table, constraint or privilege, and the remedies. Torpor tries again every 5 minutes, and at once when `spec.database` changes.";
        TruncationRefused: "The truncation found the obstacle itself. It changed nothing.",
            "As for `PreflightRefused`.";
    }

    "Reasons of `PreflightPassed`": "If the Job can't be created or can't start, the reason is `WriteRejected` or one of [Kubernetes' own](#kubernetes-own)." {
        Passed: "The preflight found no obstacle.",
            "Nothing.";
        Running: "The preflight Job runs.",
            "Nothing.";
        Changed: "`spec.database` was changed while hibernated, when the database itself may be down.",
            "Nothing: the preflight runs after the wake, and the next hibernation uses the new settings.";
        Refused: "Of `PreflightPassed`: as `PreflightRefused`. Of a MaintenanceWindow: the phase of a window that was refused, for one of the reasons `ForwardDealsRefused`, `SpotDealsRefused` and `OrdersRefused`.",
            "As for those reasons.";
        Failed: "The Job could not reach the database, or was not let in; the message has the database's words.",
            "Correct the URL in the Secret, or start the database. Torpor tries again, with backoff.";
    }

    "Reasons of `Truncated`": "" {
        Done: "The tables are empty; the message says how many, and how many bytes that freed.",
            "Nothing.";
        Pending: "The tables will be truncated once all workloads are down.",
            "Nothing; `Ready` or `Stalled` says what the truncation waits for.";
        NotAsked: "A schedule or an expired override started this hibernation.",
            "Set `automatic: true` if that should truncate too. Or wake the project and set `state: Hibernated` yourself.";
        Unknown: "Torpor adopted the hibernation from its holds. Nothing records whether its tables were truncated, so Torpor does not truncate them.",
            "Look at the tables. Truncate them with [torpor truncate](truncate.md), or wake and hibernate again.";
    }

    "Reasons of a MaintenanceWindow": "The reasons above apply too, except those of the database. [maintenance.md](maintenance.md) explains the phases." {
        Scheduled: "The phase: the window is to come, or no window is planned.",
            "Nothing.";
        Blocked: "The phase, as the reason of `InMaintenance=False`: the window's time has come, and something prevents its start.",
            "Nothing; `Ready` or `Stalled` says what prevents it.";
        InMaintenance: "The phase: all workloads of the window are down.",
            "Nothing.";
        Restoring: "The phase: Torpor restores the workloads, withdraws the announcement and offers the orders again.",
            "Nothing.";
        Completed: "The phase: the window is over, and all workloads are restored.",
            "Nothing.";
        Cancelled: "The phase: the window was suspended or deleted.",
            "Nothing.";
        Over: "Of `status.last`: the window ended as planned.",
            "Nothing.";
        ForwardDeals: "The window's time has come, and deals of a fixed term prevent its start. The message names each deal with its end; `status.earliestStart` is the last end.",
            "Nothing: the window starts when the deals have ended. If that is after the window's end, the window is missed: choose another time, or `forward: Postpone`.";
        Postponed: "Deals of a fixed term have moved the window (`forward: Postpone`); `status.window` has the new times.",
            "Nothing.";
        MarketUnavailable: "Torpor can't observe or notify the market now; the message says why, and `DealsClear` has the reason, [one of the market](#reasons-of-the-market).",
            "Nothing if it passes by itself. Until then Torpor stops nothing, and withdrawn orders stay withdrawn.";
        Missed: "The window's time has passed and Torpor stopped nothing: deals, the market or a workload that can't be held prevented it, or no operator ran. `status.history` has the obstacle.",
            "Choose another time. With a `schedule`, nothing: the next window comes.";
        ForwardDealsRefused: "A deal of a fixed term is open, and `spec.deals.forward` is `Refuse`.",
            "Choose a time after the deal's end, or another `forward`: Torpor judges a changed spec anew.";
        SpotDealsRefused: "A deal without a fixed term is open, and `spec.deals.spot` is `Refuse`.",
            "Close the deal and change the time, or set `spot: Close`.";
        OrdersRefused: "An order is open, and `spec.deals.orders` is `Refuse`.",
            "Withdraw the order and change the time, or set `orders: Withdraw`.";
        LeftBehind: "The object was deleted, and when `progressDeadline` had passed, its orders were still withdrawn or the market had not answered.",
            "Offer the orders by hand: key `orders.json` of the ConfigMap in the message has them. Then delete the ConfigMap.";
    }

    "Reasons of `DealsClear`": "Any other reason is [one of the market](#reasons-of-the-market)." {
        Clear: "No deal, order or task is open.",
            "Nothing.";
        Open: "Orders, deals or tasks are open, and Torpor may end all of them when the time has come.",
            "Nothing.";
        Draining: "Torpor withdraws orders, then closes deals, then ends tasks. The message names the open ones, and what the market could not do.",
            "Nothing before `progressDeadline`. Then look at the ones in the message.";
    }

    "Reasons of the market": "The server of the Deals API did not answer, or not as the contract says. Torpor stops nothing until it has, and asks again." {
        NoServiceAccount: "The operator does not know its own service account, so that it has no token to show.",
            "Set `POD_NAMESPACE` and `POD_SERVICE_ACCOUNT` as the Deployment of the chart does. Out of a cluster, use `--service-account NAMESPACE/NAME`.";
        TokenRefused: "The API server issues no token for that service account.",
            "Create the service account, or grant `create` on its `serviceaccounts/token`, as `templates/rbac.yaml` of the chart does.";
        ServiceNotFound: "The Service does not exist in the object's namespace.",
            "Create the Service, or correct its name.";
        ServiceUnusable: "The Service is headless or of type `ExternalName`, or does not have the port; the message says which.",
            "Give the Service a ClusterIP and the port.";
        AuthorityUnusable: "`caConfigMapRef` names a ConfigMap or key that does not exist, or that holds no PEM certificate.",
            "Correct the name, or put the authority's certificate there.";
        TLSFailed: "The server's certificate is not of that authority, not for `NAME.NAMESPACE.svc` or expired, or the server does not speak TLS.",
            "Issue a certificate that fits. Without TLS, remove `caConfigMapRef`.";
        MarketUnreachable: "Torpor can't reach the server, or the server can't reach the market.",
            "Look at the server's pods and log, and at NetworkPolicies. Where the namespace denies egress, the author adds a policy: [bridges.md](bridges.md#egress).";
        MarketTimeout: "The server, or the market behind it, took too long.",
            "As for `MarketUnreachable`. The request may still be carried out; the next observation tells.";
        MarketInvalid: "An answer does not follow the contract, or the market's own answer makes no sense; the message says where.",
            "Compare with [deals-api.yaml](deals-api.yaml); `hack/schemathesis` tests a server of your own against it.";
        MarketRefused: "The market refused the request.",
            "Read the message.";
        Unauthenticated: "The server does not accept the operator's token.",
            "Compare the token's audience, issuer and subject with [bridges.md](bridges.md#authentication).";
        UnknownKey: "The cluster signs tokens with a key that the server does not know yet.",
            "Nothing for a bridge that the operator runs: the operator restarts it with the new keys. Give any other server the cluster's keys again.";
        StaleEpoch: "The server has heard from a newer leader.",
            "Nothing: the newer leader continues, and the operator corrects a higher epoch that somebody wrote into the bridge's ConfigMap. If it stays, look who else calls the server.";
        InvalidRestore: "Orders can't be offered again: the bridge does not accept the `restore` payload of one of them. Somebody changed the payload, or the bridge's Secret is another one than when the order was withdrawn. Torpor keeps the payloads, and tries again.",
            "Put back what was there, and restart the bridge: it reads a Secret only at its start. Or offer the orders by hand, and delete the ConfigMap in the message: [bridges.md](bridges.md#payloads).";
        BridgeMisconfigured: "The bridge can't use its settings; the message says what to change.",
            "Change that.";
        BridgeNotReady: "The bridge that the operator runs is starting, or does not start; the message has Kubernetes' own words, or the last ones of the bridge.",
            "Nothing while the bridge starts. Then do what the message says: create a missing Secret, make the image available.";
        BridgeNameTaken: "An object that is not Torpor's has the name of an object of the bridge.",
            "Delete or rename the object in the message.";
        KeysUnavailable: "The API server does not publish the keys by which a bridge verifies the operator's token.",
            "Grant `get` on `/.well-known/openid-configuration` and `/openid/v1/jwks`, as `templates/rbac.yaml` of the chart does.";
        PayloadsTooLarge: "There are more orders than Torpor can keep for offering them again (900 KiB). Torpor withdraws none.",
            "Withdraw some orders by hand.";
        PayloadsUnreadable: "Somebody changed the ConfigMap with the withdrawn orders, and it does not parse.",
            "Mend its key `orders.json`. Or delete the ConfigMap, and offer the withdrawn orders by hand.";
        RequestTooLarge: "A request would exceed the limit of the contract. Torpor sent nothing.",
            "Withdraw some orders by hand.";
    }

    "Reasons of Events": "Events also have the reasons of the phases and those that need a person." {
        Truncated: "The truncation Job emptied the tables.",
            "Nothing.";
        Announced: "The market knows the start of the maintenance.",
            "Nothing.";
        RecordCopied: "A workload or ConfigMap has the record of another object in its annotation `torpor.dev/hold`: it was created from an export of a held object. Torpor neither holds nor restores it because of that record.",
            "Set its fields to the values that it should have, and remove the annotation `torpor.dev/hold` and the label `torpor.dev/held`.";
        ForeignChange: "A field manager changed a held field. Torpor reverted it, or keeps it as the value to restore; the note says which.",
            "Nothing, if it was meant.";
    }
}
