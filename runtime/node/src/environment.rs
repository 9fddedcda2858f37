//! A container's environment, command and arguments, with everything filled in.
//!
//! `envFrom` first, then `env`; the later wins. `$(VAR)` sees what was declared before it.

use std::collections::BTreeMap;

use api::downward::{self, DownwardError, Facts};
use api::expansion::{self, MissingVariable};
use model::Container;
use model::container::{EnvFrom, EnvFromSource, EnvValue, KeyRef};

use crate::objects::{Data, Objects};

/// Variables in the order in which they were first declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Names, unique, with their values.
    pub(crate) variables: Vec<(String, String)>,
    /// Keys of `envFrom` that are no names of variables: kubelet's Event
    /// InvalidEnvironmentVariableNames.
    pub(crate) skipped: Vec<Skipped>,
    /// Where each name stands in `variables`.
    index: BTreeMap<String, usize>,
}

/// Keys of one object that cannot be names of variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// configMap or secret, as kubelet writes it.
    pub(crate) kind: &'static str,
    /// The object's name.
    pub(crate) name: String,
    /// The variables that would have been, in order.
    pub(crate) variables: Vec<String>,
}

/// Why a container has no environment: kubelet's CreateContainerConfigError.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// An object that is not there.
    #[error("{kind} {name:?} not found")]
    NoObject {
        /// configmap or secret, as kubelet writes it.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A key that the object does not have.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// ConfigMap or Secret, as kubelet writes it.
        kind: &'static str,
        /// The namespace.
        namespace: String,
        /// The object.
        name: String,
        /// The key.
        key: String,
    },
    /// A value that is no text.
    #[error("the key {key} of {name:?} is not valid UTF-8: mount it as a file instead")]
    NotText {
        /// The object.
        name: String,
        /// The key.
        key: String,
    },
    /// A field that cannot be shown.
    #[error("variable {variable}: {source}")]
    Downward {
        /// The variable.
        variable: String,
        /// Why not.
        source: DownwardError,
    },
    /// A `subPathExpr` with a variable that has no value.
    #[error("subPathExpr {expression:?}: {source}")]
    SubPath {
        /// The expression.
        expression: String,
        /// Which one.
        source: MissingVariable,
    },
}

// === impl Environment ===

impl Environment {
    /// The environment of a container.
    ///
    /// # Errors
    /// The first reference that is neither there nor optional.
    pub(crate) fn of(
        container: &Container,
        facts: &Facts<'_>,
        objects: &dyn Objects,
    ) -> Result<Self, EnvironmentError> {
        let mut environment = Self::default();
        let namespace = &facts.pod.identity.namespace;
        for from in &container.env_from {
            environment.add_all(from, namespace, objects)?;
        }
        for variable in &container.env {
            let name = &variable.name;
            let value = match &variable.value {
                EnvValue::Literal(text) => Some(environment.expand(text)),
                EnvValue::ConfigMapKey(key) => text_of(
                    key,
                    "ConfigMap",
                    namespace,
                    objects.config_map_texts(namespace, &key.name),
                )?,
                EnvValue::SecretKey(key) => text_of(
                    key,
                    "Secret",
                    namespace,
                    objects.secret(namespace, &key.name),
                )?,
                EnvValue::Field(path) => {
                    Some(downward::field(facts, path).map_err(|e| shown(name, e))?)
                }
                EnvValue::Resource(field) => Some(
                    downward::resource(facts, &container.name, field)
                        .map_err(|e| shown(name, e))?,
                ),
            };
            if let Some(value) = value {
                environment.set(name, value);
            }
        }
        Ok(environment)
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.variables.get(*self.index.get(name)?)?;
        Some(value)
    }

    /// Text with its `$(VAR)` filled in; what is not known stays.
    pub(crate) fn expand(&self, text: &str) -> String {
        expansion::expand(text, |name| self.get(name))
    }

    /// A `subPathExpr` filled in.
    ///
    /// # Errors
    /// A variable that has no value.
    pub(crate) fn expand_path(&self, expression: &str) -> Result<String, EnvironmentError> {
        expansion::expand_fully(expression, |name| self.get(name)).map_err(|source| {
            EnvironmentError::SubPath {
                expression: expression.to_owned(),
                source,
            }
        })
    }

    /// Sets a variable unless it is set.
    pub(crate) fn set_default(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.set(name, value.to_owned());
        }
    }

    fn set(&mut self, name: &str, value: String) {
        match self
            .index
            .get(name)
            .and_then(|at| self.variables.get_mut(*at))
        {
            Some((_, old)) => *old = value,
            None => {
                self.index.insert(name.to_owned(), self.variables.len());
                self.variables.push((name.to_owned(), value));
            }
        }
    }

    fn add_all(
        &mut self,
        from: &EnvFrom,
        namespace: &str,
        objects: &dyn Objects,
    ) -> Result<(), EnvironmentError> {
        let (kind, name, contents) = match &from.source {
            EnvFromSource::ConfigMap(name) => {
                ("configmap", name, objects.config_map_texts(namespace, name))
            }
            EnvFromSource::Secret(name) => ("secret", name, objects.secret(namespace, name)),
        };
        let Some(contents) = contents else {
            return if from.optional {
                Ok(())
            } else {
                Err(EnvironmentError::NoObject {
                    kind,
                    name: name.clone(),
                })
            };
        };
        let mut variables = Vec::new();
        for (key, value) in contents.iter() {
            let variable = format!("{}{key}", from.prefix);
            match String::from_utf8(value.to_vec()) {
                Ok(value) if is_variable_name(&variable) => self.set(&variable, value),
                _ => variables.push(variable),
            }
        }
        if !variables.is_empty() {
            let kind = if kind == "secret" { kind } else { "configMap" };
            let name = name.clone();
            self.skipped.push(Skipped {
                kind,
                name,
                variables,
            });
        }
        Ok(())
    }
}

/// Kubernetes' relaxed rule: printable ASCII without `=`.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

fn text_of(
    key: &KeyRef,
    kind: &'static str,
    namespace: &str,
    contents: Option<Data>,
) -> Result<Option<String>, EnvironmentError> {
    let Some(contents) = contents else {
        let kind = if kind == "Secret" {
            "secret"
        } else {
            "configmap"
        };
        return if key.optional {
            Ok(None)
        } else {
            Err(EnvironmentError::NoObject {
                kind,
                name: key.name.clone(),
            })
        };
    };
    match contents.get(&key.key) {
        Some(value) => {
            String::from_utf8(value.to_vec())
                .map(Some)
                .map_err(|_| EnvironmentError::NotText {
                    name: key.name.clone(),
                    key: key.key.clone(),
                })
        }
        None if key.optional => Ok(None),
        None => Err(EnvironmentError::NoKey {
            kind,
            namespace: namespace.to_owned(),
            name: key.name.clone(),
            key: key.key.clone(),
        }),
    }
}

fn shown(variable: &str, source: DownwardError) -> EnvironmentError {
    EnvironmentError::Downward {
        variable: variable.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use model::Pod;
    use model::container::EnvVar;

    use super::*;

    struct Fixed;

    impl Objects for Fixed {
        fn config_map(&self, namespace: &str, name: &str) -> Option<Data> {
            let mut data = Data::unwrap_or_clone(self.config_map_texts(namespace, name)?);
            data.insert("binary".to_owned(), Bytes::from_static(b"\0\x01"));
            Some(Arc::new(data))
        }

        fn config_map_texts(&self, _: &str, name: &str) -> Option<Data> {
            let pairs = [("colour", "red"), ("bad=key", "x"), ("size", "9")];
            (name == "settings")
                .then(|| Arc::new(pairs.map(|(k, v)| (k.to_owned(), Bytes::from(v))).into()))
        }

        fn secret(&self, _: &str, _: &str) -> Option<Data> {
            None
        }

        fn secret_type(&self, _: &str, _: &str) -> Option<String> {
            None
        }
    }

    fn literal(name: &str, value: &str) -> EnvVar {
        EnvVar {
            name: name.to_owned(),
            value: EnvValue::Literal(value.to_owned()),
        }
    }

    fn environment(container: &Container) -> Result<Environment, EnvironmentError> {
        let pod = Pod::default();
        let facts = Facts {
            pod: &pod,
            node_name: "n",
            host_ips: &[],
            pod_ips: &[],
            allocatable: downward::Allocatable::default(),
        };
        Environment::of(container, &facts, &Fixed)
    }

    #[test]
    fn the_later_wins_and_sees_the_earlier() {
        let container = Container {
            env_from: vec![EnvFrom {
                prefix: "C_".to_owned(),
                source: EnvFromSource::ConfigMap("settings".to_owned()),
                optional: false,
            }],
            env: vec![
                literal("C_size", "10"),
                literal("both", "$(C_colour)-$(C_size)-$(later)-$$(C_size)"),
                literal("later", "l"),
            ],
            ..Container::default()
        };
        let environment = environment(&container).expect("an environment");
        assert_eq!(environment.get("both"), Some("red-10-$(later)-$(C_size)"));
        let skipped = Skipped {
            kind: "configMap",
            name: "settings".to_owned(),
            variables: vec!["C_bad=key".to_owned()],
        };
        assert_eq!(environment.skipped, [skipped]);
    }

    #[test]
    fn what_is_missing_is_named_unless_optional() {
        let key = |name: &str, key: &str, optional| Container {
            env: vec![EnvVar {
                name: "v".to_owned(),
                value: EnvValue::ConfigMapKey(KeyRef {
                    name: name.to_owned(),
                    key: key.to_owned(),
                    optional,
                }),
            }],
            ..Container::default()
        };
        let said = |container| {
            environment(&container)
                .map(|e| e.variables)
                .map_err(|e| e.to_string())
        };
        assert_eq!(
            said(key("none", "k", false)),
            Err("configmap \"none\" not found".to_owned())
        );
        assert_eq!(
            said(key("settings", "k", false)),
            Err("couldn't find key k in ConfigMap /settings".to_owned())
        );
        assert_eq!(said(key("settings", "k", true)), Ok(vec![]));
    }
}
