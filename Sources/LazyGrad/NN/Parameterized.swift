// What a model is to everything that trains, saves and loads it: tensors with names. Uses the public
// interface of the rest, as all of NN does.

/// A tensor of a model, and its name there: `("layers.0.weight", ...)`.
public typealias NamedTensor = (name: String, tensor: Tensor)

/// Something that is made of tensors which have names: a layer, a model, a list of tensors.
///
/// A type that conforms and says no more gets its names by reflection: those of its stored properties, with
/// a dot before the names inside of them.
///
///     struct Encoder: Parameterized {
///       let embedding = Embedding(256, 16)                   // embedding.weight
///       let layers = [Dense(16, 32), Dense(32, 32)]          // layers.0.weight, layers.0.bias, layers.1....
///       let heads = ["a": Dense(32, 2), "b": Dense(32, 3)]   // heads.a.weight, ...
///       let scale = Tensor(1.0)                              // scale
///     }
///
/// The walk goes through tensors, whatever conforms to this protocol, and the structs, tuples, enumerations,
/// arrays, dictionaries and optionals that these lie in; entries of dictionaries come in the order of their
/// keys. It does not go into objects of classes that don't conform. Properties that are not stored are not
/// found. Where other names are wanted, implement `namedTensors`.
public protocol Parameterized {
  /// All tensors of this part with their names, variables and constants: what is saved and loaded. A tensor
  /// that has two names is there twice.
  var namedTensors: [NamedTensor] { get }
}

extension Parameterized {
  /// All tensors, found by reflection.
  ///
  /// - Complexity: some microseconds a tensor: for the beginning and end of a training, not for every step.
  public var namedTensors: [NamedTensor] { ReflectionWalk.tensors(of: self) }

  /// The tensors that are trained: the variables among `namedTensors`, each once, under its first name.
  ///
  /// A tensor made with `constant: true` is none of them: so a part of a model is frozen, and so are the
  /// running statistics of `BatchNorm` kept out.
  public var namedParameters: [NamedTensor] {
    var known: Set<ObjectIdentifier> = []
    return namedTensors.filter {
      !$0.tensor.isConstant && known.insert(ObjectIdentifier($0.tensor)).inserted
    }
  }

  /// The tensors that are trained, without their names.
  public var parameters: [Tensor] { namedParameters.map(\.tensor) }

  /// All tensors by their names: what files hold, and what `load` takes.
  public var tensorsByName: [String: Tensor] {
    namedTensors.reduce(into: [:]) { $0[$1.name] = $1.tensor }
  }

  /// How many numbers are trained.
  public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

  /// The tensors of this part, named as in a whole that calls it `prefix`: for a `namedTensors` of your own.
  public func namedTensors(under prefix: String) -> [NamedTensor] {
    prefix.isEmpty
      ? namedTensors : namedTensors.map { (name: "\(prefix).\($0.name)", tensor: $0.tensor) }
  }
}

/// A list of tensors is a model: their names are `0`, `1` and so on.
extension Array: Parameterized where Element == Tensor {}

/// Tensors with names of their own are a model.
extension Dictionary: Parameterized where Key == String, Value == Tensor {
  /// The entries, in the order of their names.
  public var namedTensors: [NamedTensor] {
    sorted { $0.key < $1.key }.map { (name: $0.key, tensor: $0.value) }
  }
}

// MARK: - Reflection

/// One walk through the stored properties of a value.
private struct ReflectionWalk {
  /// The objects that are being walked through around here: an object may know the whole that it is in.
  @TaskLocal private static var around: Set<ObjectIdentifier> = []

  private var found: [NamedTensor] = []

  static func tensors(of whole: Any) -> [NamedTensor] {
    func walked() -> [NamedTensor] {
      var walk = ReflectionWalk()
      walk.visitParts(of: Mirror(reflecting: whole), "")
      return walk.found
    }
    guard type(of: whole) is AnyClass else { return walked() }
    let object = ObjectIdentifier(whole as AnyObject)
    if around.contains(object) { return [] }
    return $around.withValue(around.union([object])) { walked() }
  }

  private mutating func visit(_ value: Any, _ name: String) {
    if let tensor = value as? Tensor {
      found.append((name, tensor))
    } else if let part = value as? any Parameterized {
      found += part.namedTensors(under: name)
    } else if !(type(of: value) is AnyClass) {
      visitParts(of: Mirror(reflecting: value), name)
    }
  }

  private mutating func visitParts(of mirror: Mirror, _ name: String) {
    if let parent = mirror.superclassMirror { visitParts(of: parent, name) }
    switch mirror.displayStyle {
    case .collection:
      for (i, element) in mirror.children.enumerated() {
        // A list of numbers or texts has no tensors, and may be long.
        if element.value is any TensorScalar || element.value is String { return }
        visit(element.value, joined(name, "\(i)"))
      }
    case .dictionary:
      // The children are pairs of a key and a value.
      let entries = mirror.children.map { Array(Mirror(reflecting: $0.value).children) }
        .filter { $0.count == 2 }.map { ("\($0[0].value)", $0[1].value) }
      for (key, value) in entries.sorted(by: { $0.0 < $1.0 }) { visit(value, joined(name, key)) }
    case .optional:
      for child in mirror.children { visit(child.value, name) }
    case .struct, .class, .tuple, .enum:
      for child in mirror.children { visit(child.value, joined(name, label(child.label))) }
    default: break
    }
  }

  /// The name of a property as it was written: that of a lazy one is longer, and elements of tuples have a dot.
  private func label(_ label: String?) -> String {
    var label = label ?? ""
    for prefix in ["$__lazy_storage_$_", "."] where label.hasPrefix(prefix) {
      label.removeFirst(prefix.count)
    }
    return label
  }

  private func joined(_ name: String, _ part: String) -> String {
    name.isEmpty || part.isEmpty ? name + part : "\(name).\(part)"
  }
}
