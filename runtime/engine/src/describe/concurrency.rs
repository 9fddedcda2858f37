//! Whether a component uses the component model's concurrency: asynchronous functions, streams,
//! futures and what belongs to them. Code that does is compiled for the `async` configuration;
//! the other one does not know it.

use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentDefinedType, ComponentType,
    ComponentTypeDeclaration, ComponentValType, InstanceTypeDeclaration, Payload, PrimitiveValType,
};

/// Whether this part of a component uses it.
pub(super) fn is_used(payload: &Payload<'_>) -> Result<bool, BinaryReaderError> {
    match payload {
        Payload::ComponentTypeSection(types) => any(types.clone(), |kind| is_of_type(&kind)),
        Payload::ComponentCanonicalSection(functions) => any(functions.clone(), is_of_function),
        _ => Ok(false),
    }
}

/// Whether one item of a section is such, read no further than to the first.
fn any<T>(
    items: impl IntoIterator<Item = Result<T, BinaryReaderError>>,
    is_such: impl Fn(T) -> bool,
) -> Result<bool, BinaryReaderError> {
    for item in items {
        if is_such(item?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every function of the canonical ABI but those that were there before concurrency.
fn is_of_function(function: CanonicalFunction) -> bool {
    use CanonicalFunction as Function;
    match function {
        Function::Lift { options, .. } | Function::Lower { options, .. } => {
            options.contains(&CanonicalOption::Async)
        }
        Function::ResourceNew { .. }
        | Function::ResourceDrop { .. }
        | Function::ResourceRep { .. }
        | Function::ThreadSpawnRef { .. }
        | Function::ThreadSpawnIndirect { .. }
        | Function::ThreadAvailableParallelism => false,
        _ => true,
    }
}

fn is_of_type(kind: &ComponentType<'_>) -> bool {
    match kind {
        ComponentType::Defined(defined) => is_of_defined(defined),
        ComponentType::Func(function) => {
            let mut params = function.params.iter().map(|(_, value)| value);
            function.async_
                || params.any(is_of_value)
                || function.result.as_ref().is_some_and(is_of_value)
        }
        ComponentType::Component(declarations) => declarations.iter().any(|it| match it {
            ComponentTypeDeclaration::Type(kind) => is_of_type(kind),
            _ => false,
        }),
        ComponentType::Instance(declarations) => declarations.iter().any(|it| match it {
            InstanceTypeDeclaration::Type(kind) => is_of_type(kind),
            _ => false,
        }),
        ComponentType::Resource { .. } => false,
    }
}

/// Streams and futures have types of their own; an error context is a value like a number, which
/// any type may be made of.
fn is_of_defined(defined: &ComponentDefinedType<'_>) -> bool {
    use ComponentDefinedType as Type;
    match defined {
        Type::Future(_) | Type::Stream(_) => true,
        Type::Primitive(primitive) => *primitive == PrimitiveValType::ErrorContext,
        Type::Record(fields) => fields.iter().any(|(_, value)| is_of_value(value)),
        Type::Variant(cases) => cases
            .iter()
            .filter_map(|case| case.ty.as_ref())
            .any(is_of_value),
        Type::List(value) | Type::FixedLengthList(value, _) | Type::Option(value) => {
            is_of_value(value)
        }
        Type::Map(key, value) => is_of_value(key) || is_of_value(value),
        Type::Tuple(values) => values.iter().any(is_of_value),
        Type::Result { ok, err } => [ok, err].into_iter().flatten().any(is_of_value),
        Type::Flags(_) | Type::Enum(_) | Type::Own(_) | Type::Borrow(_) => false,
    }
}

fn is_of_value(value: &ComponentValType) -> bool {
    matches!(
        value,
        ComponentValType::Primitive(PrimitiveValType::ErrorContext)
    )
}

#[cfg(test)]
mod tests {
    use super::super::Description;

    #[test]
    fn concurrency_is_found_wherever_it_is() {
        let async_lift = "(component
            (core module $m (func (export \"f\") (result i32) unreachable)
                            (func (export \"c\") (param i32 i32 i32) (result i32) unreachable))
            (core instance $i (instantiate $m))
            (func (export \"f\") async
                (canon lift (core func $i \"f\") async (callback (core func $i \"c\")))))";
        let plain_lift = "(component
            (core module $m (func (export \"f\")))
            (core instance $i (instantiate $m))
            (func (export \"f\") (canon lift (core func $i \"f\"))))";
        for (wat, expected) in [
            ("(component)", false),
            (plain_lift, false),
            (async_lift, true),
            ("(component (type (list u8)))", false),
            ("(component (type (future)))", true),
            ("(component (type (list error-context)))", true),
            ("(component (type (result (error error-context))))", true),
            ("(component (type (instance (type (stream u8)))))", true),
            ("(component (type (component (type (func async)))))", true),
            ("(component (component (type (future u8))))", true),
            ("(component (canon backpressure.inc (core func)))", true),
            ("(component (canon waitable-set.new (core func)))", true),
        ] {
            let wasm = wat::parse_str(wat).expect(wat);
            let description = Description::read(&wasm).expect(wat);
            assert_eq!(description.is_concurrent, expected, "{wat}");
        }
    }
}
