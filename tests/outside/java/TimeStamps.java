import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.Security;
import java.security.cert.CRL;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.tsp.TimeStampRequest;
import org.bouncycastle.tsp.TimeStampRequestGenerator;
import org.bouncycastle.tsp.TimeStampResponse;
import org.bouncycastle.tsp.TimeStampToken;

/**
 * Verifies time stamps (RFC 3161) as an auditor with BouncyCastle does.
 *
 * Fields of a case: the answer (TimeStampResp), the request or "-", the document, the roots (PEM),
 * certificates beside the token (PEM) or "-", and, if it is to be asked whether the signer's was
 * revoked, its issuer's list (PEM or DER). All are paths.
 */
final class TimeStamps {
    private static final String NOTHING = "-";
    private static final String SM2_WITH_SM3 = "1.2.156.10197.1.501";

    private TimeStamps() {
    }

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        Verdicts.answer(TimeStamps::check);
    }

    private static void check(String[] fields) throws Exception {
        TimeStampResponse answer = new TimeStampResponse(read(fields[0]));
        byte[] document = read(fields[2]);
        TimeStampToken token = answer.getTimeStampToken();
        if (token == null) {
            throw new GeneralSecurityException("no token: " + answer.getStatusString());
        }
        ASN1ObjectIdentifier algorithm = token.getTimeStampInfo().getMessageImprintAlgOID();
        byte[] digest = MessageDigest.getInstance(algorithm.getId(), "BC").digest(document);
        if (!MessageDigest.isEqual(digest, token.getTimeStampInfo().getMessageImprintDigest())) {
            throw new GeneralSecurityException("the imprint is not of the document");
        }
        answer.validate(
            fields[1].equals(NOTHING)
                ? new TimeStampRequestGenerator().generate(algorithm, digest)
                : new TimeStampRequest(read(fields[1])));

        List<X509Certificate> known = new ArrayList<>();
        String provider = provider(token);
        JcaX509CertificateConverter converter =
            new JcaX509CertificateConverter().setProvider(provider);
        for (X509CertificateHolder held : token.getCertificates().getMatches(null)) {
            known.add(converter.getCertificate(held));
        }
        if (!fields[4].equals(NOTHING)) {
            known.addAll(certificates(fields[4], provider));
        }
        X509Certificate signer = signer(token, known);
        token.validate(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(signer));
        List<CRL> lists = fields.length > 5 ? List.of(list(fields[5])) : List.of();
        buildPath(signer, known, certificates(fields[3], provider), lists, token);
    }

    private static X509Certificate signer(TimeStampToken token, List<X509Certificate> known)
            throws Exception {
        for (X509Certificate each : known) {
            if (token.getSID().match(new X509CertificateHolder(each.getEncoded()))) {
                return each;
            }
        }
        throw new GeneralSecurityException("no certificate of the signer");
    }

    /** PKIX at the time that the token states, for a certificate that may stamp times. */
    private static void buildPath(
            X509Certificate signer,
            List<X509Certificate> known,
            List<X509Certificate> roots,
            List<CRL> lists,
            TimeStampToken token)
            throws Exception {
        Set<TrustAnchor> anchors = new HashSet<>();
        for (X509Certificate root : roots) {
            anchors.add(new TrustAnchor(root, null));
        }
        X509CertSelector target = new X509CertSelector();
        target.setCertificate(signer);
        target.setExtendedKeyUsage(Set.of(KeyPurposeId.id_kp_timeStamping.getId()));
        PKIXBuilderParameters parameters = new PKIXBuilderParameters(anchors, target);
        parameters.addCertStore(
            CertStore.getInstance("Collection", new CollectionCertStoreParameters(known)));
        parameters.addCertStore(
            CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists)));
        parameters.setRevocationEnabled(!lists.isEmpty());
        parameters.setDate(token.getTimeStampInfo().getGenTime());
        CertPathBuilder.getInstance("PKIX", provider(token)).build(parameters);
    }

    /** Who builds the path: the JDK, but for keys of SM2, which it cannot read. */
    private static String provider(TimeStampToken token) {
        SignerInformation signer = token.toCMSSignedData().getSignerInfos().iterator().next();
        return signer.getEncryptionAlgOID().equals(SM2_WITH_SM3) ? "BC" : "SUN";
    }

    private static List<X509Certificate> certificates(String path, String provider)
            throws Exception {
        List<X509Certificate> found = new ArrayList<>();
        try (InputStream text = Files.newInputStream(Path.of(path))) {
            for (Certificate each :
                    CertificateFactory.getInstance("X.509", provider).generateCertificates(text)) {
                found.add((X509Certificate) each);
            }
        }
        return found;
    }

    private static CRL list(String path) throws Exception {
        try (InputStream encoded = Files.newInputStream(Path.of(path))) {
            return CertificateFactory.getInstance("X.509").generateCRL(encoded);
        }
    }

    private static byte[] read(String path) throws Exception {
        return Files.readAllBytes(Path.of(path));
    }
}
