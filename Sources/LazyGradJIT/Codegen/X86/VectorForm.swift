// THE table of vector instructions: every form that the generators may emit, once.
//
// A row says how the processor's manual writes the instruction (Intel 64 and IA-32 Architectures
// Software Developer's Manual, volume 2): prefix, opcode map, opcode, width bits, how an 8-bit
// displacement counts, what the operands are. The encoder and its tests read nothing else.

/// A vector instruction of the table.
package enum VectorOp: UInt8, CaseIterable, Sendable {
  // Moves.
  case movups, movupsStore, movupd, movupdStore, movaps, movntpsStore, movssLoad, movssStore,
    movsdLoad, movsdStore, movd, movq, movdStore, movqStore, broadcastss, broadcastsd,
    pbroadcastw, pbroadcastd, pbroadcastq, pbroadcastdFromGPR, pextrwStore, maskmovps,
    maskmovpsStore, maskmovpd, maskmovpdStore
  // Widening and narrowing moves of integers.
  case pmovzxbd, pmovzxbq, pmovzxwd, pmovsxdq, pmovzxdq, pmovdbStore, pmovqbStore, pmovdwStore,
    pmovqdStore, packusdw, packuswb
  // Arithmetic on floats.
  case addps, addpd, mulps, mulpd, subps, subpd, minps, minpd, divps, divpd, maxps, maxpd,
    sqrtps, sqrtpd, andps, andpd, andnps, andnpd, orps, orpd, xorps, xorpd, addss, addsd, mulss,
    mulsd, subss, subsd, divss, divsd, fmadd132ps, fmadd132pd, fmadd213ps, fmadd213pd,
    fmadd231ps, fmadd231pd, fmsub132ps, fmsub132pd, fmsub213ps, fmsub213pd, fmsub231ps,
    fmsub231pd, fnmadd132ps, fnmadd132pd, fnmadd213ps, fnmadd213pd, fnmadd231ps, fnmadd231pd,
    fnmsub132ps, fnmsub132pd, fnmsub213ps, fnmsub213pd, fnmsub231ps, fnmsub231pd, fmadd231ss,
    fmadd231sd, roundps, roundpd, rndscaleps, rndscalepd, scalefps, scalefpd
  // Comparisons and choices: AVX2 gives lanes of ones, AVX-512 mask registers.
  case cmpps, cmppd, cmppsMask, cmppdMask, fpclassps, fpclasspd, pcmpeqd, pcmpgtd, pcmpeqq, pcmpgtq,
    pcmpdMask,
    pcmpqMask, pcmpudMask, pcmpuqMask, blendvps, blendvpd, blendmps, blendmpd, movmskps, ptest,
    kmovwFromGPR, kmovwToGPR, kmovw, kandw, kandnw, korw, kxnorw, kxorw, knotw, kortestw
  // Arithmetic on integers.
  case paddd, paddq, psubd, psubq, pmulld, pmullq, pmuludq, pand, pandn, por, pxor, pandd,
    pandnd, pord, pxord, pternlogd, pabsd, pabsq, pminsd, pminsq, pmaxsd, pmaxsq, pminud, pminuq,
    pmaxud, pmaxuq, pslld, psrld, psrad, psllq, psrlq, psraq, psllvd, psrlvd, psravd
  // Conversions.
  case cvtdq2ps, cvtps2dq, cvttps2dq, cvtps2pd, cvtpd2ps, cvtdq2pd, cvttpd2dq, cvtqq2pd,
    cvtqq2ps, cvttpd2qq, cvttps2qq, cvtss2sd, cvtsd2ss, cvtph2ps, cvtps2phStore
  // Shuffles.
  case shufps, shufpd, permilps, unpcklps, unpckhps, unpcklpd, unpckhpd, movhlps, movshdup,
    permps, permd, permq, permpd, perm2f128, insertf128, extractf128, insertf32x4, insertf64x4,
    extractf32x4, extractf64x4, shuff32x4, shuff64x2, permt2ps, permt2pd, pcompressd, pcompressq
}

/// One row of the table.
package struct VectorForm: Sendable {
  package enum Prefix: UInt8, Sendable { case none = 0, p66, pF3, pF2 }
  package enum OpcodeMap: UInt8, Sendable { case m0F = 1, m0F38, m0F3A }
  package enum Encoding: UInt8, Sendable { case both, vex, evex }
  /// Which operand is which, in the order in which assembly language writes them; `m` is the one
  /// that may be in memory, `v` the one in the prefix.
  package enum Shape: UInt8, Sendable { case rvm, rm, mr, mvr, vmi, rvmr }
  /// The bytes that a memory operand has, which is what an 8-bit displacement of EVEX counts.
  package enum Tuple: UInt8, Sendable {
    /// A register's worth, or one element that is repeated.
    case full
    /// A register's worth.
    case fullMemory
    /// A part of a register's worth; halves of 4-byte elements may be repeated elements too.
    case half, quarter, eighth
    case scalar
    case part16, part32
    /// No memory operand.
    case none
  }
  /// What a register operand is.
  package enum RegisterClass: UInt8, Sendable { case vector, mask, gpr32, gpr64, memory }
  /// How wide a vector operand is, compared with the instruction.
  package enum Part: UInt8, Sendable { case full, half, quarter, eighth, xmm, ymm }

  /// As assemblers write it.
  package var name: String
  package var prefix: Prefix
  package var map: OpcodeMap
  package var opcode: UInt8
  package var encoding: Encoding
  package var vexWide: Bool
  package var evexWide: Bool
  package var tuple: Tuple
  package var elementSize: Int
  package var shape: Shape
  package var hasImmediate: Bool
  /// The number in the register field of forms that have no register there.
  package var digit: Int?
  /// The length field where it says something else than the vector's width.
  package var fixedLength: UInt8?
  package var reg: RegisterClass
  package var rm: RegisterClass
  package var regPart: Part
  package var rmPart: Part
  /// Whether a memory operand may be one repeated element.
  package var canBroadcast: Bool

  init(
    _ name: String, _ prefix: Prefix, _ map: OpcodeMap, _ opcode: UInt8,
    only encoding: Encoding = .both, vexWide: Bool = false, evexWide: Bool = false,
    memory tuple: Tuple = .full, size: Int = 4, shape: Shape = .rvm, immediate: Bool = false,
    digit: Int? = nil, length: UInt8? = nil, reg: RegisterClass = .vector,
    rm: RegisterClass = .vector, regPart: Part = .full, rmPart: Part = .full,
    broadcast: Bool? = nil
  ) {
    self.name = name
    self.prefix = prefix
    self.map = map
    self.opcode = opcode
    self.encoding = encoding
    self.vexWide = vexWide
    self.evexWide = evexWide
    self.tuple = tuple
    elementSize = size
    self.shape = shape
    hasImmediate = immediate
    self.digit = digit
    fixedLength = length
    self.reg = reg
    self.rm = rm
    self.regPart = regPart
    self.rmPart = rmPart
    canBroadcast = broadcast ?? (encoding != .vex && (tuple == .full || tuple == .half))
  }

  /// Bytes that one step of an 8-bit displacement stands for with EVEX.
  func memoryUnit(_ width: VectorWidth, isBroadcast: Bool) -> Int {
    if isBroadcast { return elementSize }
    switch tuple {
    case .full, .fullMemory: return width.byteCount
    case .half: return width.byteCount / 2
    case .quarter: return width.byteCount / 4
    case .eighth: return width.byteCount / 8
    case .scalar: return elementSize
    case .part16: return 16
    case .part32: return 32
    case .none: return 1
    }
  }
}

extension VectorOp {
  /// This instruction's row.
  package var form: VectorForm { Self.forms[Int(rawValue)] }

  private static let forms: [VectorForm] = allCases.map(row)

  private static func row(_ op: VectorOp) -> VectorForm {
    typealias F = VectorForm
    switch op {
    // Moves.
    case .movups: return F("vmovups", .none, .m0F, 0x10, memory: .fullMemory, shape: .rm)
    case .movupsStore: return F("vmovups", .none, .m0F, 0x11, memory: .fullMemory, shape: .mr)
    case .movupd:
      return F(
        "vmovupd", .p66, .m0F, 0x10, evexWide: true, memory: .fullMemory, size: 8, shape: .rm)
    case .movupdStore:
      return F(
        "vmovupd", .p66, .m0F, 0x11, evexWide: true, memory: .fullMemory, size: 8, shape: .mr)
    case .movaps: return F("vmovaps", .none, .m0F, 0x28, memory: .fullMemory, shape: .rm)
    case .movntpsStore:
      return F("vmovntps", .none, .m0F, 0x2B, memory: .fullMemory, shape: .mr, rm: .memory)
    case .movssLoad:
      return F(
        "vmovss", .pF3, .m0F, 0x10, memory: .scalar, shape: .rm, length: 0, rm: .memory,
        regPart: .xmm, rmPart: .xmm)
    case .movssStore:
      return F(
        "vmovss", .pF3, .m0F, 0x11, memory: .scalar, shape: .mr, length: 0, rm: .memory,
        regPart: .xmm, rmPart: .xmm)
    case .movsdLoad:
      return F(
        "vmovsd", .pF2, .m0F, 0x10, evexWide: true, memory: .scalar, size: 8, shape: .rm, length: 0,
        rm: .memory, regPart: .xmm, rmPart: .xmm)
    case .movsdStore:
      return F(
        "vmovsd", .pF2, .m0F, 0x11, evexWide: true, memory: .scalar, size: 8, shape: .mr, length: 0,
        rm: .memory, regPart: .xmm, rmPart: .xmm)
    case .movd:
      return F(
        "vmovd", .p66, .m0F, 0x6E, memory: .scalar, shape: .rm, length: 0, rm: .gpr32, regPart: .xmm
      )
    case .movq:
      return F(
        "vmovq", .p66, .m0F, 0x6E, vexWide: true, evexWide: true, memory: .scalar, size: 8,
        shape: .rm, length: 0, rm: .gpr64, regPart: .xmm)
    case .movdStore:
      return F(
        "vmovd", .p66, .m0F, 0x7E, memory: .scalar, shape: .mr, length: 0, rm: .gpr32, regPart: .xmm
      )
    case .movqStore:
      return F(
        "vmovq", .p66, .m0F, 0x7E, vexWide: true, evexWide: true, memory: .scalar, size: 8,
        shape: .mr, length: 0, rm: .gpr64, regPart: .xmm)
    case .broadcastss:
      return F("vbroadcastss", .p66, .m0F38, 0x18, memory: .scalar, shape: .rm, rmPart: .xmm)
    case .broadcastsd:
      return F(
        "vbroadcastsd", .p66, .m0F38, 0x19, evexWide: true, memory: .scalar, size: 8, shape: .rm,
        rmPart: .xmm)
    case .pbroadcastw:
      return F(
        "vpbroadcastw", .p66, .m0F38, 0x79, memory: .scalar, size: 2, shape: .rm, rmPart: .xmm)
    case .pbroadcastd:
      return F("vpbroadcastd", .p66, .m0F38, 0x58, memory: .scalar, shape: .rm, rmPart: .xmm)
    case .pbroadcastq:
      return F(
        "vpbroadcastq", .p66, .m0F38, 0x59, evexWide: true, memory: .scalar, size: 8, shape: .rm,
        rmPart: .xmm)
    case .pbroadcastdFromGPR:
      return F(
        "vpbroadcastd", .p66, .m0F38, 0x7C, only: .evex, memory: .none, shape: .rm, rm: .gpr32)
    case .pextrwStore:
      return F(
        "vpextrw", .p66, .m0F3A, 0x15, memory: .scalar, size: 2, shape: .mr, immediate: true,
        length: 0, rm: .memory, regPart: .xmm, rmPart: .xmm)
    case .maskmovps:
      return F("vmaskmovps", .p66, .m0F38, 0x2C, only: .vex, memory: .fullMemory, rm: .memory)
    case .maskmovpsStore:
      return F(
        "vmaskmovps", .p66, .m0F38, 0x2E, only: .vex, memory: .fullMemory, shape: .mvr, rm: .memory)
    case .maskmovpd:
      return F(
        "vmaskmovpd", .p66, .m0F38, 0x2D, only: .vex, memory: .fullMemory, size: 8, rm: .memory)
    case .maskmovpdStore:
      return F(
        "vmaskmovpd", .p66, .m0F38, 0x2F, only: .vex, memory: .fullMemory, size: 8, shape: .mvr,
        rm: .memory)
    // Widening and narrowing moves of integers.
    case .pmovzxbd:
      return F(
        "vpmovzxbd", .p66, .m0F38, 0x31, memory: .quarter, size: 1, shape: .rm, rmPart: .quarter)
    case .pmovzxbq:
      return F(
        "vpmovzxbq", .p66, .m0F38, 0x32, memory: .eighth, size: 1, shape: .rm, rmPart: .eighth)
    case .pmovzxwd:
      return F(
        "vpmovzxwd", .p66, .m0F38, 0x33, memory: .half, size: 2, shape: .rm, rmPart: .half,
        broadcast: false)
    case .pmovsxdq:
      return F(
        "vpmovsxdq", .p66, .m0F38, 0x25, memory: .half, shape: .rm, rmPart: .half, broadcast: false)
    case .pmovzxdq:
      return F(
        "vpmovzxdq", .p66, .m0F38, 0x35, memory: .half, shape: .rm, rmPart: .half, broadcast: false)
    case .pmovdbStore:
      return F(
        "vpmovdb", .pF3, .m0F38, 0x31, only: .evex, memory: .quarter, size: 1, shape: .mr,
        rmPart: .quarter)
    case .pmovqbStore:
      return F(
        "vpmovqb", .pF3, .m0F38, 0x32, only: .evex, memory: .eighth, size: 1, shape: .mr,
        rmPart: .eighth)
    case .pmovdwStore:
      return F(
        "vpmovdw", .pF3, .m0F38, 0x33, only: .evex, memory: .half, size: 2, shape: .mr,
        rmPart: .half, broadcast: false)
    case .pmovqdStore:
      return F(
        "vpmovqd", .pF3, .m0F38, 0x35, only: .evex, memory: .half, shape: .mr, rmPart: .half,
        broadcast: false)
    case .packusdw: return F("vpackusdw", .p66, .m0F38, 0x2B)
    case .packuswb: return F("vpackuswb", .p66, .m0F, 0x67, memory: .fullMemory)
    // Arithmetic on floats.
    case .addps: return F("vaddps", .none, .m0F, 0x58)
    case .addpd: return F("vaddpd", .p66, .m0F, 0x58, evexWide: true, size: 8)
    case .mulps: return F("vmulps", .none, .m0F, 0x59)
    case .mulpd: return F("vmulpd", .p66, .m0F, 0x59, evexWide: true, size: 8)
    case .subps: return F("vsubps", .none, .m0F, 0x5C)
    case .subpd: return F("vsubpd", .p66, .m0F, 0x5C, evexWide: true, size: 8)
    case .minps: return F("vminps", .none, .m0F, 0x5D)
    case .minpd: return F("vminpd", .p66, .m0F, 0x5D, evexWide: true, size: 8)
    case .divps: return F("vdivps", .none, .m0F, 0x5E)
    case .divpd: return F("vdivpd", .p66, .m0F, 0x5E, evexWide: true, size: 8)
    case .maxps: return F("vmaxps", .none, .m0F, 0x5F)
    case .maxpd: return F("vmaxpd", .p66, .m0F, 0x5F, evexWide: true, size: 8)
    case .sqrtps: return F("vsqrtps", .none, .m0F, 0x51, shape: .rm)
    case .sqrtpd: return F("vsqrtpd", .p66, .m0F, 0x51, evexWide: true, size: 8, shape: .rm)
    case .andps: return F("vandps", .none, .m0F, 0x54)
    case .andpd: return F("vandpd", .p66, .m0F, 0x54, evexWide: true, size: 8)
    case .andnps: return F("vandnps", .none, .m0F, 0x55)
    case .andnpd: return F("vandnpd", .p66, .m0F, 0x55, evexWide: true, size: 8)
    case .orps: return F("vorps", .none, .m0F, 0x56)
    case .orpd: return F("vorpd", .p66, .m0F, 0x56, evexWide: true, size: 8)
    case .xorps: return F("vxorps", .none, .m0F, 0x57)
    case .xorpd: return F("vxorpd", .p66, .m0F, 0x57, evexWide: true, size: 8)
    case .addss:
      return F("vaddss", .pF3, .m0F, 0x58, memory: .scalar, length: 0, regPart: .xmm, rmPart: .xmm)
    case .addsd:
      return F(
        "vaddsd", .pF2, .m0F, 0x58, evexWide: true, memory: .scalar, size: 8, length: 0,
        regPart: .xmm, rmPart: .xmm)
    case .mulss:
      return F("vmulss", .pF3, .m0F, 0x59, memory: .scalar, length: 0, regPart: .xmm, rmPart: .xmm)
    case .mulsd:
      return F(
        "vmulsd", .pF2, .m0F, 0x59, evexWide: true, memory: .scalar, size: 8, length: 0,
        regPart: .xmm, rmPart: .xmm)
    case .subss:
      return F("vsubss", .pF3, .m0F, 0x5C, memory: .scalar, length: 0, regPart: .xmm, rmPart: .xmm)
    case .subsd:
      return F(
        "vsubsd", .pF2, .m0F, 0x5C, evexWide: true, memory: .scalar, size: 8, length: 0,
        regPart: .xmm, rmPart: .xmm)
    case .divss:
      return F("vdivss", .pF3, .m0F, 0x5E, memory: .scalar, length: 0, regPart: .xmm, rmPart: .xmm)
    case .divsd:
      return F(
        "vdivsd", .pF2, .m0F, 0x5E, evexWide: true, memory: .scalar, size: 8, length: 0,
        regPart: .xmm, rmPart: .xmm)
    case .fmadd132ps: return F("vfmadd132ps", .p66, .m0F38, 0x98)
    case .fmadd132pd:
      return F("vfmadd132pd", .p66, .m0F38, 0x98, vexWide: true, evexWide: true, size: 8)
    case .fmadd213ps: return F("vfmadd213ps", .p66, .m0F38, 0xA8)
    case .fmadd213pd:
      return F("vfmadd213pd", .p66, .m0F38, 0xA8, vexWide: true, evexWide: true, size: 8)
    case .fmadd231ps: return F("vfmadd231ps", .p66, .m0F38, 0xB8)
    case .fmadd231pd:
      return F("vfmadd231pd", .p66, .m0F38, 0xB8, vexWide: true, evexWide: true, size: 8)
    case .fmsub132ps: return F("vfmsub132ps", .p66, .m0F38, 0x9A)
    case .fmsub132pd:
      return F("vfmsub132pd", .p66, .m0F38, 0x9A, vexWide: true, evexWide: true, size: 8)
    case .fmsub213ps: return F("vfmsub213ps", .p66, .m0F38, 0xAA)
    case .fmsub213pd:
      return F("vfmsub213pd", .p66, .m0F38, 0xAA, vexWide: true, evexWide: true, size: 8)
    case .fmsub231ps: return F("vfmsub231ps", .p66, .m0F38, 0xBA)
    case .fmsub231pd:
      return F("vfmsub231pd", .p66, .m0F38, 0xBA, vexWide: true, evexWide: true, size: 8)
    case .fnmadd132ps: return F("vfnmadd132ps", .p66, .m0F38, 0x9C)
    case .fnmadd132pd:
      return F("vfnmadd132pd", .p66, .m0F38, 0x9C, vexWide: true, evexWide: true, size: 8)
    case .fnmadd213ps: return F("vfnmadd213ps", .p66, .m0F38, 0xAC)
    case .fnmadd213pd:
      return F("vfnmadd213pd", .p66, .m0F38, 0xAC, vexWide: true, evexWide: true, size: 8)
    case .fnmadd231ps: return F("vfnmadd231ps", .p66, .m0F38, 0xBC)
    case .fnmadd231pd:
      return F("vfnmadd231pd", .p66, .m0F38, 0xBC, vexWide: true, evexWide: true, size: 8)
    case .fnmsub132ps: return F("vfnmsub132ps", .p66, .m0F38, 0x9E)
    case .fnmsub132pd:
      return F("vfnmsub132pd", .p66, .m0F38, 0x9E, vexWide: true, evexWide: true, size: 8)
    case .fnmsub213ps: return F("vfnmsub213ps", .p66, .m0F38, 0xAE)
    case .fnmsub213pd:
      return F("vfnmsub213pd", .p66, .m0F38, 0xAE, vexWide: true, evexWide: true, size: 8)
    case .fnmsub231ps: return F("vfnmsub231ps", .p66, .m0F38, 0xBE)
    case .fnmsub231pd:
      return F("vfnmsub231pd", .p66, .m0F38, 0xBE, vexWide: true, evexWide: true, size: 8)
    case .fmadd231ss:
      return F(
        "vfmadd231ss", .p66, .m0F38, 0xB9, memory: .scalar, length: 0, regPart: .xmm, rmPart: .xmm)
    case .fmadd231sd:
      return F(
        "vfmadd231sd", .p66, .m0F38, 0xB9, vexWide: true, evexWide: true, memory: .scalar, size: 8,
        length: 0, regPart: .xmm, rmPart: .xmm)
    case .roundps:
      return F(
        "vroundps", .p66, .m0F3A, 0x08, only: .vex, memory: .fullMemory, shape: .rm, immediate: true
      )
    case .roundpd:
      return F(
        "vroundpd", .p66, .m0F3A, 0x09, only: .vex, memory: .fullMemory, size: 8, shape: .rm,
        immediate: true)
    case .rndscaleps:
      return F("vrndscaleps", .p66, .m0F3A, 0x08, only: .evex, shape: .rm, immediate: true)
    case .rndscalepd:
      return F(
        "vrndscalepd", .p66, .m0F3A, 0x09, only: .evex, evexWide: true, size: 8, shape: .rm,
        immediate: true)
    case .scalefps: return F("vscalefps", .p66, .m0F38, 0x2C, only: .evex)
    case .scalefpd: return F("vscalefpd", .p66, .m0F38, 0x2C, only: .evex, evexWide: true, size: 8)
    // Comparisons and choices: AVX2 gives lanes of ones, AVX-512 mask registers.
    case .cmpps: return F("vcmpps", .none, .m0F, 0xC2, only: .vex, immediate: true)
    case .cmppd: return F("vcmppd", .p66, .m0F, 0xC2, only: .vex, size: 8, immediate: true)
    case .cmppsMask: return F("vcmpps", .none, .m0F, 0xC2, only: .evex, immediate: true, reg: .mask)
    case .cmppdMask:
      return F(
        "vcmppd", .p66, .m0F, 0xC2, only: .evex, evexWide: true, size: 8, immediate: true,
        reg: .mask)
    case .fpclassps:
      return F(
        "vfpclassps", .p66, .m0F3A, 0x66, only: .evex, shape: .rm, immediate: true, reg: .mask)
    case .fpclasspd:
      return F(
        "vfpclasspd", .p66, .m0F3A, 0x66, only: .evex, evexWide: true, size: 8, shape: .rm,
        immediate: true, reg: .mask)
    case .pcmpeqd: return F("vpcmpeqd", .p66, .m0F, 0x76, only: .vex)
    case .pcmpgtd: return F("vpcmpgtd", .p66, .m0F, 0x66, only: .vex)
    case .pcmpeqq: return F("vpcmpeqq", .p66, .m0F38, 0x29, only: .vex, size: 8)
    case .pcmpgtq: return F("vpcmpgtq", .p66, .m0F38, 0x37, only: .vex, size: 8)
    case .pcmpdMask:
      return F("vpcmpd", .p66, .m0F3A, 0x1F, only: .evex, immediate: true, reg: .mask)
    case .pcmpqMask:
      return F(
        "vpcmpq", .p66, .m0F3A, 0x1F, only: .evex, evexWide: true, size: 8, immediate: true,
        reg: .mask)
    case .pcmpudMask:
      return F("vpcmpud", .p66, .m0F3A, 0x1E, only: .evex, immediate: true, reg: .mask)
    case .pcmpuqMask:
      return F(
        "vpcmpuq", .p66, .m0F3A, 0x1E, only: .evex, evexWide: true, size: 8, immediate: true,
        reg: .mask)
    case .blendvps:
      return F("vblendvps", .p66, .m0F3A, 0x4A, only: .vex, shape: .rvmr, immediate: true)
    case .blendvpd:
      return F("vblendvpd", .p66, .m0F3A, 0x4B, only: .vex, size: 8, shape: .rvmr, immediate: true)
    case .blendmps: return F("vblendmps", .p66, .m0F38, 0x65, only: .evex)
    case .blendmpd: return F("vblendmpd", .p66, .m0F38, 0x65, only: .evex, evexWide: true, size: 8)
    case .movmskps:
      return F("vmovmskps", .none, .m0F, 0x50, only: .vex, memory: .none, shape: .rm, reg: .gpr32)
    case .ptest: return F("vptest", .p66, .m0F38, 0x17, only: .vex, memory: .fullMemory, shape: .rm)
    case .kmovwFromGPR:
      return F(
        "kmovw", .none, .m0F, 0x92, only: .vex, memory: .none, shape: .rm, length: 0, reg: .mask,
        rm: .gpr32)
    case .kmovwToGPR:
      return F(
        "kmovw", .none, .m0F, 0x93, only: .vex, memory: .none, shape: .rm, length: 0, reg: .gpr32,
        rm: .mask)
    case .kmovw:
      return F(
        "kmovw", .none, .m0F, 0x90, only: .vex, memory: .none, shape: .rm, length: 0, reg: .mask,
        rm: .mask)
    case .kandw:
      return F(
        "kandw", .none, .m0F, 0x41, only: .vex, memory: .none, length: 1, reg: .mask, rm: .mask)
    case .kandnw:
      return F(
        "kandnw", .none, .m0F, 0x42, only: .vex, memory: .none, length: 1, reg: .mask, rm: .mask)
    case .korw:
      return F(
        "korw", .none, .m0F, 0x45, only: .vex, memory: .none, length: 1, reg: .mask, rm: .mask)
    case .kxnorw:
      return F(
        "kxnorw", .none, .m0F, 0x46, only: .vex, memory: .none, length: 1, reg: .mask, rm: .mask)
    case .kxorw:
      return F(
        "kxorw", .none, .m0F, 0x47, only: .vex, memory: .none, length: 1, reg: .mask, rm: .mask)
    case .knotw:
      return F(
        "knotw", .none, .m0F, 0x44, only: .vex, memory: .none, shape: .rm, length: 0, reg: .mask,
        rm: .mask)
    case .kortestw:
      return F(
        "kortestw", .none, .m0F, 0x98, only: .vex, memory: .none, shape: .rm, length: 0, reg: .mask,
        rm: .mask)
    // Arithmetic on integers.
    case .paddd: return F("vpaddd", .p66, .m0F, 0xFE)
    case .paddq: return F("vpaddq", .p66, .m0F, 0xD4, evexWide: true, size: 8)
    case .psubd: return F("vpsubd", .p66, .m0F, 0xFA)
    case .psubq: return F("vpsubq", .p66, .m0F, 0xFB, evexWide: true, size: 8)
    case .pmulld: return F("vpmulld", .p66, .m0F38, 0x40)
    case .pmullq: return F("vpmullq", .p66, .m0F38, 0x40, only: .evex, evexWide: true, size: 8)
    case .pmuludq: return F("vpmuludq", .p66, .m0F, 0xF4, evexWide: true, size: 8)
    case .pand: return F("vpand", .p66, .m0F, 0xDB, only: .vex)
    case .pandn: return F("vpandn", .p66, .m0F, 0xDF, only: .vex)
    case .por: return F("vpor", .p66, .m0F, 0xEB, only: .vex)
    case .pxor: return F("vpxor", .p66, .m0F, 0xEF, only: .vex)
    case .pandd: return F("vpandd", .p66, .m0F, 0xDB, only: .evex)
    case .pandnd: return F("vpandnd", .p66, .m0F, 0xDF, only: .evex)
    case .pord: return F("vpord", .p66, .m0F, 0xEB, only: .evex)
    case .pxord: return F("vpxord", .p66, .m0F, 0xEF, only: .evex)
    case .pternlogd: return F("vpternlogd", .p66, .m0F3A, 0x25, only: .evex, immediate: true)
    case .pabsd: return F("vpabsd", .p66, .m0F38, 0x1E, shape: .rm)
    case .pabsq:
      return F("vpabsq", .p66, .m0F38, 0x1F, only: .evex, evexWide: true, size: 8, shape: .rm)
    case .pminsd: return F("vpminsd", .p66, .m0F38, 0x39)
    case .pminsq: return F("vpminsq", .p66, .m0F38, 0x39, only: .evex, evexWide: true, size: 8)
    case .pmaxsd: return F("vpmaxsd", .p66, .m0F38, 0x3D)
    case .pmaxsq: return F("vpmaxsq", .p66, .m0F38, 0x3D, only: .evex, evexWide: true, size: 8)
    case .pminud: return F("vpminud", .p66, .m0F38, 0x3B)
    case .pminuq: return F("vpminuq", .p66, .m0F38, 0x3B, only: .evex, evexWide: true, size: 8)
    case .pmaxud: return F("vpmaxud", .p66, .m0F38, 0x3F)
    case .pmaxuq: return F("vpmaxuq", .p66, .m0F38, 0x3F, only: .evex, evexWide: true, size: 8)
    case .pslld:
      return F("vpslld", .p66, .m0F, 0x72, memory: .none, shape: .vmi, immediate: true, digit: 6)
    case .psrld:
      return F("vpsrld", .p66, .m0F, 0x72, memory: .none, shape: .vmi, immediate: true, digit: 2)
    case .psrad:
      return F("vpsrad", .p66, .m0F, 0x72, memory: .none, shape: .vmi, immediate: true, digit: 4)
    case .psllq:
      return F(
        "vpsllq", .p66, .m0F, 0x73, evexWide: true, memory: .none, size: 8, shape: .vmi,
        immediate: true, digit: 6)
    case .psrlq:
      return F(
        "vpsrlq", .p66, .m0F, 0x73, evexWide: true, memory: .none, size: 8, shape: .vmi,
        immediate: true, digit: 2)
    case .psraq:
      return F(
        "vpsraq", .p66, .m0F, 0x72, only: .evex, evexWide: true, memory: .none, size: 8,
        shape: .vmi, immediate: true, digit: 4)
    case .psllvd: return F("vpsllvd", .p66, .m0F38, 0x47)
    case .psrlvd: return F("vpsrlvd", .p66, .m0F38, 0x45)
    case .psravd: return F("vpsravd", .p66, .m0F38, 0x46)
    // Conversions.
    case .cvtdq2ps: return F("vcvtdq2ps", .none, .m0F, 0x5B, shape: .rm)
    case .cvtps2dq: return F("vcvtps2dq", .p66, .m0F, 0x5B, shape: .rm)
    case .cvttps2dq: return F("vcvttps2dq", .pF3, .m0F, 0x5B, shape: .rm)
    case .cvtps2pd:
      return F("vcvtps2pd", .none, .m0F, 0x5A, memory: .half, shape: .rm, rmPart: .half)
    case .cvtpd2ps:
      return F("vcvtpd2ps", .p66, .m0F, 0x5A, evexWide: true, size: 8, shape: .rm, regPart: .half)
    case .cvtdq2pd:
      return F("vcvtdq2pd", .pF3, .m0F, 0xE6, memory: .half, shape: .rm, rmPart: .half)
    case .cvttpd2dq:
      return F("vcvttpd2dq", .p66, .m0F, 0xE6, evexWide: true, size: 8, shape: .rm, regPart: .half)
    case .cvtqq2pd:
      return F("vcvtqq2pd", .pF3, .m0F, 0xE6, only: .evex, evexWide: true, size: 8, shape: .rm)
    case .cvtqq2ps:
      return F(
        "vcvtqq2ps", .none, .m0F, 0x5B, only: .evex, evexWide: true, size: 8, shape: .rm,
        regPart: .half)
    case .cvttpd2qq:
      return F("vcvttpd2qq", .p66, .m0F, 0x7A, only: .evex, evexWide: true, size: 8, shape: .rm)
    case .cvttps2qq:
      return F(
        "vcvttps2qq", .p66, .m0F, 0x7A, only: .evex, memory: .half, shape: .rm, rmPart: .half)
    case .cvtss2sd:
      return F(
        "vcvtss2sd", .pF3, .m0F, 0x5A, memory: .scalar, length: 0, regPart: .xmm, rmPart: .xmm)
    case .cvtph2ps:
      return F(
        "vcvtph2ps", .p66, .m0F38, 0x13, memory: .half, size: 2, shape: .rm, rmPart: .half,
        broadcast: false)
    case .cvtps2phStore:
      return F(
        "vcvtps2ph", .p66, .m0F3A, 0x1D, memory: .half, size: 2, shape: .mr, immediate: true,
        rmPart: .half, broadcast: false)
    case .cvtsd2ss:
      return F(
        "vcvtsd2ss", .pF2, .m0F, 0x5A, evexWide: true, memory: .scalar, size: 8, length: 0,
        regPart: .xmm, rmPart: .xmm)
    // Shuffles.
    case .shufps: return F("vshufps", .none, .m0F, 0xC6, immediate: true)
    case .shufpd: return F("vshufpd", .p66, .m0F, 0xC6, evexWide: true, size: 8, immediate: true)
    case .permilps: return F("vpermilps", .p66, .m0F3A, 0x04, shape: .rm, immediate: true)
    case .unpcklps: return F("vunpcklps", .none, .m0F, 0x14)
    case .unpckhps: return F("vunpckhps", .none, .m0F, 0x15)
    case .unpcklpd: return F("vunpcklpd", .p66, .m0F, 0x14, evexWide: true, size: 8)
    case .unpckhpd: return F("vunpckhpd", .p66, .m0F, 0x15, evexWide: true, size: 8)
    case .movhlps:
      return F("vmovhlps", .none, .m0F, 0x12, memory: .none, length: 0, regPart: .xmm, rmPart: .xmm)
    case .movshdup: return F("vmovshdup", .pF3, .m0F, 0x16, memory: .fullMemory, shape: .rm)
    case .permps: return F("vpermps", .p66, .m0F38, 0x16)
    case .permd: return F("vpermd", .p66, .m0F38, 0x36)
    case .permq:
      return F(
        "vpermq", .p66, .m0F3A, 0x00, vexWide: true, evexWide: true, size: 8, shape: .rm,
        immediate: true)
    case .permpd:
      return F(
        "vpermpd", .p66, .m0F3A, 0x01, vexWide: true, evexWide: true, size: 8, shape: .rm,
        immediate: true)
    case .perm2f128:
      return F("vperm2f128", .p66, .m0F3A, 0x06, only: .vex, memory: .fullMemory, immediate: true)
    case .insertf128:
      return F(
        "vinsertf128", .p66, .m0F3A, 0x18, only: .vex, memory: .part16, immediate: true,
        rmPart: .xmm)
    case .extractf128:
      return F(
        "vextractf128", .p66, .m0F3A, 0x19, only: .vex, memory: .part16, shape: .mr,
        immediate: true, rmPart: .xmm)
    case .insertf32x4:
      return F(
        "vinsertf32x4", .p66, .m0F3A, 0x18, only: .evex, memory: .part16, immediate: true,
        rmPart: .xmm)
    case .insertf64x4:
      return F(
        "vinsertf64x4", .p66, .m0F3A, 0x1A, only: .evex, evexWide: true, memory: .part32, size: 8,
        immediate: true, rmPart: .ymm)
    case .extractf32x4:
      return F(
        "vextractf32x4", .p66, .m0F3A, 0x19, only: .evex, memory: .part16, shape: .mr,
        immediate: true, rmPart: .xmm)
    case .extractf64x4:
      return F(
        "vextractf64x4", .p66, .m0F3A, 0x1B, only: .evex, evexWide: true, memory: .part32, size: 8,
        shape: .mr, immediate: true, rmPart: .ymm)
    case .shuff32x4: return F("vshuff32x4", .p66, .m0F3A, 0x23, only: .evex, immediate: true)
    case .shuff64x2:
      return F(
        "vshuff64x2", .p66, .m0F3A, 0x23, only: .evex, evexWide: true, size: 8, immediate: true)
    case .permt2ps: return F("vpermt2ps", .p66, .m0F38, 0x7F, only: .evex)
    case .permt2pd:
      return F("vpermt2pd", .p66, .m0F38, 0x7F, only: .evex, evexWide: true, size: 8)
    // To a register: in memory they take many times as long on some processors.
    case .pcompressd:
      return F("vpcompressd", .p66, .m0F38, 0x8B, only: .evex, memory: .none, shape: .mr)
    case .pcompressq:
      return F(
        "vpcompressq", .p66, .m0F38, 0x8B, only: .evex, evexWide: true, memory: .none, size: 8,
        shape: .mr)
    }
  }
}
