// What vector code asks its caller to finish: arguments that only a long computation gets right.
// Emitted code calls nothing; it returns a request, and is called again when that is answered.

/// A function some lanes of which the caller computes.
struct LoopHelp {
  let opcode: Opcode
  let type: ScalarType
  /// The result's type, where it is another one.
  var resultType: ScalarType?

  /// What the code returns: the operation and the saved registers.
  func request(x: UInt8, y: UInt8, result: UInt8) -> Int {
    Int(opcode.rawValue) | Int(type.rawValue) << 8 | Int(x) << 16 | Int(y) << 24
      | Int(result) << 32 | Int((resultType ?? type).rawValue) << 40
  }
}
