// What vector code asks its caller to finish: arguments that only a long computation gets right.
// Emitted code calls nothing; it returns a request, and is called again when that is answered.

/// A function some lanes of which the caller computes.
struct LoopHelp {
  let opcode: Opcode
  let type: ScalarType
  /// The result's type, where it is another one.
  var resultType: ScalarType?

  /// What the code returns.
  func request(x: UInt8, y: UInt8, result: UInt8, _ missing: LoopRequest.Lanes, of lanes: Int)
    -> LoopRequest
  {
    var bits = Int(opcode.rawValue) | Int(type.rawValue) << 8 | Int(x) << 16 | Int(y) << 24
    bits |= Int(result) << 32 | Int((resultType ?? type).rawValue) << 40 | lanes << 56
    switch missing {
    case .all: bits |= LoopRequest.everyLane << 48
    case .maskRegister(let k): bits |= Int(k) << 48
    case .vectorRegister(let r): bits |= Int(r | 128) << 48
    }
    return LoopRequest(bits: bits)
  }
}

/// What vector code wants: an operation, the registers of its operands and of the result, the lanes
/// that are missing. One number, never 0.
struct LoopRequest {
  /// Which lanes the caller computes: those of a mask, in a register of masks or as lanes of ones.
  enum Lanes {
    case all
    case maskRegister(UInt8)
    case vectorRegister(UInt8)
  }
  fileprivate static let everyLane = 127

  let bits: Int

  private func byte(_ shift: Int) -> Int { bits >> shift & 255 }

  var opcode: Opcode { Opcode(rawValue: UInt8(byte(0)))! }
  var type: ScalarType { ScalarType(rawValue: UInt8(byte(8)))! }
  var resultType: ScalarType { ScalarType(rawValue: UInt8(byte(40)))! }
  var x: Int { byte(16) }
  var y: Int { byte(24) }
  var result: Int { byte(32) }
  /// The lanes that are elements.
  var laneCount: Int { bits >> 56 }
  var missing: Lanes {
    let number = byte(48)
    if number == Self.everyLane { return .all }
    return number < 128 ? .maskRegister(UInt8(number)) : .vectorRegister(UInt8(number & 127))
  }
}
