//! Declares a struct together with a constant that holds the usual value of each field, so that a
//! row of the table lists only what differs.

macro_rules! record {
    (
        $(#[$doc:meta])* $type:ident;
        $(#[$common_doc:meta])* $common:ident {
            $($(#[$field_doc:meta])* $field:ident: $of:ty = $usual:expr,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $type { $($(#[$field_doc])* pub(crate) $field: $of,)* }

        impl $type {
            $(#[$common_doc])*
            pub(crate) const $common: Self = Self { $($field: $usual,)* };
        }
    };
}
pub(super) use record;
