//! Kinds of others that we read and write, as structs of our own with the fields that we need.

use serde_json::Value;

/// Makes an object of a kind, with the API server's metadata around our specification.
macro_rules! kinds {
    (scope $scope:ty; $($(#[$doc:meta])* $kind:ident: $group:literal $version:literal $plural:literal $spec:ty, $status:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, ::serde::Deserialize)]
        // An object may have no specification, and that is taken for an empty one.
        #[serde(default)]
        pub struct $kind {
            pub metadata: ::kube_core::ObjectMeta,
            pub spec: $spec,
            /// That of whoever acts on the object, and never written.
            pub status: Option<$status>,
        }

        impl $kind {
            pub fn new(metadata: ::kube_core::ObjectMeta, spec: $spec) -> Self {
                Self { metadata, spec, status: None }
            }
        }

        impl ::serde::Serialize for $kind {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use ::serde::ser::SerializeStruct;
                let mut object = serializer.serialize_struct(stringify!($kind), 4)?;
                object.serialize_field("apiVersion", concat!($group, "/", $version))?;
                object.serialize_field("kind", stringify!($kind))?;
                object.serialize_field("metadata", &self.metadata)?;
                object.serialize_field("spec", &self.spec)?;
                object.end()
            }
        }

        impl ::kube_core::Resource for $kind {
            type DynamicType = ();
            type Scope = $scope;

            fn kind(_: &()) -> ::std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }
            fn group(_: &()) -> ::std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version(_: &()) -> ::std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural(_: &()) -> ::std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &::kube_core::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ::kube_core::ObjectMeta {
                &mut self.metadata
            }
        }
    )*

        /// All kinds, for probing which of them a cluster has and for watching them alike. The definition of each is
        /// named `{plural}.{group}`.
        pub fn kinds() -> Vec<::kube_core::ApiResource> {
            vec![$(::kube_core::ApiResource::erase::<$kind>(&())),*]
        }
    };
}

pub(crate) use kinds;

/// Whether an object holds all that was applied: every field has the same value, and lists are the same altogether.
/// Fields beside them belong to others.
///
/// Both are JSON of a `spec` (or of labels, or owner references); lists of these kinds have one owner, apart from
/// a ServiceEntry's ports, to which somebody else can add.
pub fn is_applied(live: &Value, applied: &Value) -> bool {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            applied.iter().all(|(field, applied)| live.get(field).is_some_and(|live| is_applied(live, applied)))
        }
        (live, applied) => live == applied,
    }
}
