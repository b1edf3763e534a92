use crate::abi::GraphHandle;
use crate::context::Context;
use crate::description::Description;
use crate::error::Result;
use crate::numbers::{Encoding, Target};
use alloc::rc::Rc;
use alloc::vec::Vec;

/// A loaded model. It is given back when it is dropped, with all its contexts, as far as the ABI can.
pub struct Graph {
    handle: Rc<GraphHandle>,
}

impl Graph {
    /// Load a model from its bytes: one builder for most encodings, the `.xml` and the `.bin` for OpenVINO.
    pub fn load(builders: &[&[u8]], encoding: Encoding, target: Target) -> Result<Graph> {
        GraphHandle::load(builders, encoding, target).map(Graph::of)
    }

    /// Load a graph that the host's operator named. Fails with `not-found` if there is none of this name.
    pub fn load_by_name(name: &str) -> Result<Graph> {
        GraphHandle::load_by_name(name).map(Graph::of)
    }

    /// Load a named graph with a configuration in JSON. A graph that is loaded already keeps the one that it has.
    #[cfg(feature = "wasmedge")]
    pub fn load_by_name_with_config(name: &str, config: &str) -> Result<Graph> {
        GraphHandle::load_by_name_with_config(name, config).map(Graph::of)
    }

    fn of(handle: GraphHandle) -> Graph {
        crate::made_by::link();
        Graph { handle: Rc::new(handle) }
    }

    /// An execution context. Contexts know nothing of each other, unless they share variables.
    pub fn context(&self) -> Result<Context> {
        Context::new(self.handle.clone())
    }

    /// What the graph is, and what inputs and outputs it has. (Extension.)
    pub fn describe(&self) -> Result<Description> {
        self.handle.describe()
    }

    /// The graph of another signature of the model, with the same weights and variables. Fails with `not-found` if the
    /// model has no such signature. (Extension.)
    pub fn use_signature(&self, name: &str) -> Result<Graph> {
        self.handle.use_signature(name).map(Graph::of)
    }

    /// The variables, as the bytes of a safetensors file. Contexts that are made from now on share them. Fails with
    /// `unsupported-operation` for a graph without any. (Extension.)
    pub fn state(&self) -> Result<Vec<u8>> {
        self.handle.state()
    }

    /// Set variables to the values in a safetensors file. Fails with `invalid-argument`, and changes nothing, for a name,
    /// a type or dimensions that the graph doesn't have. (Extension.)
    pub fn set_state(&self, state: &[u8]) -> Result<()> {
        self.handle.set_state(state)
    }
}
