//! A mutating admission policy for objects of one namespace.

use serde_json::{Value, json};

use super::{
    afterwards::afterwards, cluster::kubectl, cluster::kubectl_or_error, kubectl::file_of,
    namespace::Namespace, scene::Scene, wait,
};

/// A policy. Dropping it deletes the policy.
pub(crate) struct Policy {
    name: String,
}

impl Policy {
    /// Creates a policy that changes the updates of Deployments for which a CEL condition holds, by JSON
    /// patches in CEL. Returns once the policy is in effect.
    pub(crate) async fn create(scene: &Scene, condition: &str, patches: &str) -> Self {
        Self::on(&scene.namespace, ("deployments", "UPDATE"), condition, patches).await
    }

    /// Creates a policy that adds a container to the pods of Jobs, which never ends. Returns once the policy is
    /// in effect.
    pub(crate) async fn with_sidecars(namespace: &Namespace) -> Self {
        let of_a_job = "has(object.metadata.labels) && 'batch.kubernetes.io/job-name' in object.metadata.labels";
        let sidecar = r#"JSONPatch{op: "add", path: "/spec/containers/-", value: {
            "name": dyn("mesh"), "image": dyn("localhost/busybox:local"),
            "imagePullPolicy": dyn("IfNotPresent"),
            "command": dyn(["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"]),
            "securityContext": dyn({
                "allowPrivilegeEscalation": dyn(false), "capabilities": dyn({"drop": ["ALL"]})
            })
        }}"#;
        Self::on(namespace, ("pods", "CREATE"), of_a_job, sidecar).await
    }

    async fn on(
        namespace: &Namespace,
        (resource, operation): (&str, &str),
        condition: &str,
        patches: &str,
    ) -> Self {
        let name = namespace.name.clone();
        // The probe: each update of a ConfigMap gets an annotation.
        let expression = format!(
            r#"object.kind == "ConfigMap"
              ? [JSONPatch{{op: "add", path: "/metadata/annotations", value: {{"policy": "yes"}}}}]
              : ({condition}) ? [{patches}] : []"#
        );
        let rule = |resource: &str, operation: &str| {
            json!({
                "apiGroups": ["", "apps"], "apiVersions": ["v1"], "operations": [operation],
                "resources": [resource],
            })
        };
        let rules = [rule("configmaps", "UPDATE"), rule(resource, operation)];
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1beta1",
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": rules, "namespaceSelector": selector},
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1beta1",
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name},
        });
        let list = json!({
            "apiVersion": "v1", "kind": "List", "metadata": {"name": "policy"}, "items": [policy, binding],
        });
        kubectl(&["apply", "--filename", &file_of(namespace, &list)]);
        let policy = Self { name };
        policy.until_in_effect(true).await;
        policy
    }

    /// Deletes the policy. Returns once it has no effect.
    pub(crate) async fn delete(self) {
        let name = self.name.as_str();
        kubectl(&["delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", name]);
        self.until_in_effect(false).await;
    }

    async fn until_in_effect(&self, wanted: bool) {
        let patch = r#"{"metadata": {"labels": {"probe": "yes"}}}"#;
        let object = ["--namespace", &self.name, "patch", "configmap/kube-root-ca.crt"];
        let dry_run = ["--type=merge", "--dry-run=server", "--output=json", "--patch", patch];
        let probe = [&object[..], &dry_run].concat();
        wait::poll("the policy is as wanted", async || {
            let probed: Value =
                serde_json::from_str(&kubectl(&probe)).expect("kubectl prints JSON");
            let effect = probed["metadata"]["annotations"]["policy"] == "yes";
            (effect == wanted).then_some(())
        })
        .await;
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let name = self.name.clone();
        afterwards("the policy", async move {
            let kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy";
            kubectl_or_error(&["delete", "--ignore-not-found", kinds, &name]).map(drop)
        });
    }
}
