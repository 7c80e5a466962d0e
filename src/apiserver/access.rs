//! Questions to the API server about the rights of whoever asks.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

use super::request::{self, call};

/// Concurrent questions.
const IN_FLIGHT: usize = 8;

/// Asks for each of these rights, and returns those that are refused, in their order. `what` names them in an error.
pub(crate) async fn refused(
    client: &Client,
    what: &'static str,
    rights: Vec<ResourceAttributes>,
) -> Result<Vec<ResourceAttributes>, request::Error> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    stream::iter(rights)
        .map(|right| {
            let reviews = &reviews;
            async move {
                let review = SelfSubjectAccessReview {
                    spec: SelfSubjectAccessReviewSpec {
                        resource_attributes: Some(right.clone()),
                        ..SelfSubjectAccessReviewSpec::default()
                    },
                    ..SelfSubjectAccessReview::default()
                };
                let answer = call(what, reviews.create(&PostParams::default(), &review)).await?;
                let allowed = answer.status.is_some_and(|status| status.allowed);
                Ok((!allowed).then_some(right))
            }
        })
        .buffered(IN_FLIGHT)
        .try_filter_map(|right| std::future::ready(Ok(right)))
        .try_collect()
        .await
}
