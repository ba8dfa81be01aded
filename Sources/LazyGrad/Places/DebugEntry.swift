// How entries of the debug information are written: DWARF 5, chapter 7. Uses DebugFile.

/// What an attribute says.
struct DebugValue {
  let form: DebugForm
  /// The number itself, an index, an offset in a section; of a text that stands there, where.
  let number: UInt64
}

/// The attributes of an entry that are needed here.
///
/// In registers: a table by code would be made on the heap, for each of many thousand entries.
struct DebugEntry {
  /// By their codes.
  enum Attribute: UInt8, CaseIterable {
    case sibling = 0x01
    case name = 0x03
    case lineTable = 0x10
    case low = 0x11
    case high = 0x12
    case folder = 0x1B
    case ranges = 0x55
    case callFile = 0x58
    case callLine = 0x59
    case stringOffsetsBase = 0x72
    case addressBase = 0x73
    case rangeListsBase = 0x74

    fileprivate var place: Int {
      switch self {
      case .sibling: 0
      case .name: 1
      case .lineTable: 2
      case .low: 3
      case .high: 4
      case .folder: 5
      case .ranges: 6
      case .callFile: 7
      case .callLine: 8
      case .stringOffsetsBase: 9
      case .addressBase: 10
      case .rangeListsBase: 11
      }
    }
  }

  private var numbers = SIMD16<UInt64>()
  /// 0 where there is none.
  private var forms = SIMD16<UInt16>()

  subscript(attribute: Attribute) -> DebugValue? {
    get {
      DebugForm(rawValue: forms[attribute.place]).map {
        DebugValue(form: $0, number: numbers[attribute.place])
      }
    }
    set {
      forms[attribute.place] = newValue?.form.rawValue ?? 0
      numbers[attribute.place] = newValue?.number ?? 0
    }
  }
}

/// How a value is written.
enum DebugForm: UInt16 {
  case address = 0x01
  case block2 = 0x03
  case block4 = 0x04
  case data2 = 0x05
  case data4 = 0x06
  case data8 = 0x07
  case inlineText = 0x08
  case block = 0x09
  case block1 = 0x0A
  case data1 = 0x0B
  case flag = 0x0C
  case signed = 0x0D
  case text = 0x0E
  case unsigned = 0x0F
  case globalReference = 0x10
  case reference1 = 0x11
  case reference2 = 0x12
  case reference4 = 0x13
  case reference8 = 0x14
  case unsignedReference = 0x15
  case sectionOffset = 0x17
  case expression = 0x18
  case present = 0x19
  case textIndex = 0x1A
  case addressIndex = 0x1B
  case otherReference4 = 0x1C
  case otherText = 0x1D
  case data16 = 0x1E
  case lineText = 0x1F
  case signature = 0x20
  /// The value is in the abbreviation.
  case constant = 0x21
  case locationIndex = 0x22
  case rangeIndex = 0x23
  case otherReference8 = 0x24
  case textIndex1 = 0x25
  case textIndex2 = 0x26
  case textIndex3 = 0x27
  case textIndex4 = 0x28
  case addressIndex1 = 0x29
  case addressIndex2 = 0x2A
  case addressIndex3 = 0x2B
  case addressIndex4 = 0x2C
  case gnuAddressIndex = 0x1F01
  case gnuTextIndex = 0x1F02
  case gnuOtherReference = 0x1F20
  case gnuOtherText = 0x1F21

  /// How many bytes it takes in every unit; nil where that depends.
  var size: Int? {
    switch self {
    case .present, .constant: 0
    case .data1, .flag, .reference1, .textIndex1, .addressIndex1: 1
    case .data2, .reference2, .textIndex2, .addressIndex2: 2
    case .textIndex3, .addressIndex3: 3
    case .data4, .reference4, .textIndex4, .addressIndex4, .otherReference4: 4
    case .address, .data8, .reference8, .signature, .otherReference8: 8
    case .data16: 16
    default: nil
    }
  }
}

/// What entries with the same code have.
struct Abbreviation {
  let tag: UInt64
  let hasChildren: Bool
  let attributes: [(name: DebugEntry.Attribute?, form: DebugForm, constant: UInt64)]
  /// How many bytes the attributes take; nil where that differs.
  let size: Int?
}

/// The abbreviations of a unit.
struct AbbreviationTable {
  /// Those with the codes 1, 2, 3 and so on, as compilers number them.
  private var kinds: [Abbreviation] = []
  private var others: [UInt64: Abbreviation] = [:]

  /// - Parameter only: Reads up to this code, and keeps no other.
  init(_ file: DebugFile, _ offset: UInt64, only: UInt64? = nil) {
    var reader = file.reader(.abbrev, from: offset)
    while !reader.isAtEnd, file.step() {
      let code = reader.unsigned()
      if code == 0 { return }
      let (tag, hasChildren) = (reader.unsigned(), reader.byte() != 0)
      var attributes: [(name: DebugEntry.Attribute?, form: DebugForm, constant: UInt64)] = []
      var size: Int? = 0
      var isKnown = true
      while !reader.isAtEnd, file.step() {
        let (name, number) = (reader.unsigned(), reader.unsigned())
        if name == 0, number == 0 { break }
        guard let form = DebugForm(rawValue: UInt16(clamping: number)) else {
          isKnown = false
          continue
        }
        let constant = form == .constant ? UInt64(bitPattern: reader.signed()) : 0
        let known = DebugEntry.Attribute(rawValue: UInt8(clamping: name))
        attributes.append((known, form, constant))
        size = size.flatMap { sum in form.size.map { sum + $0 } }
      }
      if isKnown, only == nil || only == code {
        let kind = Abbreviation(
          tag: tag, hasChildren: hasChildren, attributes: attributes, size: size)
        if code == kinds.count + 1 { kinds.append(kind) } else { others[code] = kind }
      }
      if only == code { return }
    }
  }

  subscript(code: UInt64) -> Abbreviation? {
    code > 0 && code <= UInt64(kinds.count) ? kinds[Int(code) - 1] : others[code]
  }
}
