//! The table is complete, sorted and consistent in itself, and says what Kubernetes says.

use super::*;

#[test]
fn every_kind_and_type_is_found() {
    let mut kinds = 0;
    for line in KINDS.lines() {
        let mut words = line.split(' ');
        let (version, name, target) = (words.next(), words.next(), words.next());
        let found = kind(version.unwrap_or_default(), name.unwrap_or_default());
        assert_eq!(found.map(Type::name), target, "{line}");
        kinds += 1;
    }
    assert!(kinds > 180, "{kinds} kinds");
    let mut types = 0;
    for line in TYPES.lines().filter(|line| !line.starts_with(' ')) {
        let name = line.split(' ').next().unwrap_or_default();
        assert_eq!(named(name).map(Type::name), Some(name));
        types += 1;
    }
    assert!(types > 700, "{types} types");
}

#[test]
fn every_shape_refers_to_something() {
    fn check(shape: Shape, line: &str) {
        match shape {
            Shape::Object(name) => assert!(named(name).is_some(), "{line}"),
            Shape::List(inner) | Shape::Map(inner) => check(Shape::of(inner), line),
            _ => {}
        }
    }
    for line in TYPES.lines().filter(|line| line.starts_with(' ')) {
        let field = Field::of(line).expect(line);
        check(field.shape, line);
        if let Some(default) = field.default() {
            assert!(
                serde_json::from_str::<serde_json::Value>(default.json).is_ok(),
                "{line}"
            );
        }
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    for (version, name) in [
        ("", ""),
        ("v1", "Pdo"),
        ("v1", ""),
        ("zzz/v1", "Pod"),
        ("a", "Pod"),
        ("apps/v1", "Pod"),
    ] {
        assert_eq!(kind(version, name), None, "{version} {name}");
    }
    assert_eq!(named("core/v1.Containe"), None);
    assert_eq!(named("core/v1.Containers"), None);
}

#[test]
fn a_field_says_what_kubernetes_says() {
    let container = named("core/v1.Container").expect("there");
    assert_eq!(container.short_name(), "Container");
    assert_eq!(container.required().collect::<Vec<_>>(), ["name"]);
    let ports = container.field("ports").expect("there");
    assert_eq!(ports.shape, Shape::List("core/v1.ContainerPort"));
    assert_eq!(ports.merge_key(), Some("containerPort"));
    assert_eq!(ports.patch_strategy(), Some("merge"));
    assert_eq!(ports.list_type(), Some("map"));
    assert_eq!(
        ports.list_keys().collect::<Vec<_>>(),
        ["containerPort", "protocol"]
    );
    assert_eq!(container.field("port"), None);

    let protocol = named("core/v1.ContainerPort").and_then(|port| port.field("protocol"));
    let protocol = protocol.expect("there");
    assert_eq!(
        protocol.default(),
        Some(DefaultValue {
            json: "\"TCP\"",
            replaces_empty: true
        })
    );
    assert_eq!(
        protocol.enumeration().map(Iterator::collect::<Vec<_>>),
        Some(vec!["SCTP", "TCP", "UDP"])
    );
    let grace =
        named("core/v1.PodSpec").and_then(|spec| spec.field("terminationGracePeriodSeconds"));
    let default = grace.and_then(Field::default);
    assert_eq!(
        default,
        Some(DefaultValue {
            json: "30",
            replaces_empty: false
        })
    );
    let selector = named("meta/v1.LabelSelector").expect("there");
    assert!(selector.is_atomic());
}
